"""What accuracy (or agreement) costs in queries: which operating point to deploy."""

import streamlit as st

from dashboard import frame
from dashboard.elements import chart
from dashboard.snapshot import cached
from raysys.figures.front import front_alt, front_figure


def main() -> None:
    """Draw the page."""
    view = frame.head("Trade-off", "Which operating point to deploy.")
    limits = view.limits
    figure = cached(front_figure, view.run, view.kind, limits.queries, limits.score)
    picked = chart(
        figure,
        "front-chart",
        cached(front_alt, view.run, view.kind),
        on_select="rerun",
        selection_mode="points",
    )
    if picked["selection"]["points"]:
        uid = picked["selection"]["points"][0]["customdata"][0]
        st.switch_page("views/trial.py", query_params={"trial": uid})


main()
