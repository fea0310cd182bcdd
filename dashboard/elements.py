"""How every page draws a chart and a table."""

from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import streamlit as st

from raysys.store.schema import PARAMETER

TABLE_ROWS = 10_000
"""More rows than this are not sent to a browser; the export has them all."""


def chart(figure: go.Figure, key: str, alt: str, **options: Any) -> Any:
    """Draw a figure; `alt` says in words what it shows, and of how many. Options are of `st.plotly_chart`."""
    save = {"toImageButtonOptions": {"format": "svg", "filename": key}}
    return st.plotly_chart(figure, key=key, config=save, alt=alt, **options)


def table(rows: pa.Table, key: str, alt: str, **options: Any) -> Any:
    """Draw a table. Options are of `st.dataframe`."""
    shown = rows.slice(0, TABLE_ROWS)
    names = [name.removeprefix(PARAMETER) for name in shown.column_names]
    if rows.num_rows > TABLE_ROWS:
        st.caption(f"the first {TABLE_ROWS:,} of {rows.num_rows:,} rows")
    return st.dataframe(
        shown.rename_columns(names), key=key, hide_index=True, placeholder="", alt=alt, **options
    )
