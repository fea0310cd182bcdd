"""How pages draw sheets of pictures: each is one PNG, drawn pixel by pixel."""

from collections.abc import Sequence

import streamlit as st

from raysys.errors import RaysysError
from raysys.store.layout import RunLayout
from raysys.store.pictures import read_sheet

NO_SHEETS = (
    "This trial left no sheets: it has not made images yet, its method makes none, or the run was written "
    "without them."
)


def sheets(layout: RunLayout, uid: str, steps: Sequence[int]) -> None:
    """Draw what trial `uid` made at these steps, side by side; what cannot be shown says why."""
    with st.container(horizontal=True):
        for step in steps:
            try:
                data = read_sheet(layout, uid, step)
            except RaysysError as failure:
                st.code(str(failure), language=None)
                continue
            alt = f"What the generator of trial {uid} made at step {step}: up to 64 images side by side."
            st.image(data, caption=f"step {step}", output_format="PNG", alt=alt)
