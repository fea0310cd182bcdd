"""How every page draws a chart and a table."""

from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import streamlit as st

from raysys.fronts.objectives import TESTED
from raysys.store.schema import PARAMETER

_SHARES = {*TESTED, *TESTED.values()}

TABLE_ROWS = 10_000
"""More rows than this are not sent to a browser; the export has them all."""


def chart(figure: go.Figure, key: str, alt: str, **options: Any) -> Any:
    """Draw a figure; `alt` says in words what it shows, and of how many. Options are of `st.plotly_chart`."""
    save = {"toImageButtonOptions": {"format": "svg", "filename": key}}
    return st.plotly_chart(figure, key=key, config=save, alt=alt, **options)


def table(rows: pa.Table, key: str, alt: str, **options: Any) -> Any:
    """Draw a table. Options are of `st.dataframe`; columns without a `column_config` get a usual one."""
    shown = rows.slice(0, TABLE_ROWS)
    shown = shown.rename_columns([name.removeprefix(PARAMETER) for name in shown.column_names])
    if rows.num_rows > TABLE_ROWS:
        st.caption(f"the first {TABLE_ROWS:,} of {rows.num_rows:,} rows")
    usual = {field.name: found for field in shown.schema if (found := _column(field))}
    return st.dataframe(
        shown,
        key=key,
        hide_index=True,
        placeholder="",
        alt=alt,
        column_config={**usual, **options.pop("column_config", {})},
        **options,
    )


def _column(field: pa.Field) -> Any:
    """Shares in percent, counts with separators; a seed is a name."""
    if field.name in _SHARES:
        return st.column_config.NumberColumn(field.name.replace("_", " "), format="percent")
    if pa.types.is_integer(field.type) and field.name != "seed":
        return st.column_config.NumberColumn(format="localized")
    return None
