"""One trial's way: accuracy and agreement over the queries spent."""

import numpy as np
import plotly.graph_objects as go
import pyarrow.compute as pc

from raysys.figures.front import BLUE, GREY, teacher_line, text
from raysys.fronts.objectives import TESTED
from raysys.store.points import floats
from raysys.store.reader import Snapshot


def curve_figure(snapshot: Snapshot, uid: str, template: str | None = None) -> go.Figure:
    """Val accuracy and agreement with the teacher of trial `uid`, one point a report.

    What ranks the students is the bold line; without labels there is no accuracy.
    """
    rows = snapshot.reports.filter(pc.equal(snapshot.reports["uid"], uid))
    figure = go.Figure(layout={"template": template} if template else None)
    for column in TESTED:
        reached = floats(rows, column)
        ranks = column == snapshot.manifest.score
        if not (ranks or np.isfinite(reached).any()):
            continue
        figure.add_scatter(
            name=text(column),
            x=floats(rows, "queries"),
            y=reached,
            customdata=floats(rows, "step"),
            mode="lines+markers",
            line={"color": BLUE, "dash": "solid"} if ranks else {"color": GREY, "dash": "dash"},
            marker={"symbol": "circle" if ranks else "square"},
            hovertemplate="step %{customdata:.0f}<br>%{y:.2%}<br>%{x:,} queries",
        )
    teacher_line(figure, snapshot)
    figure.update_layout(
        xaxis={"title": "teacher queries (images)", "rangemode": "tozero"},
        yaxis={"title": "share of val images", "tickformat": ".0%"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        margin={"l": 70, "r": 20, "t": 40, "b": 60},
    )
    return figure


def curve_alt(snapshot: Snapshot, uid: str) -> str:
    """What the figure shows, in words."""
    rows = snapshot.reports.filter(pc.equal(snapshot.reports["uid"], uid))
    if not rows.num_rows:
        return f"Trial {uid} has no reports yet."
    last = rows.slice(rows.num_rows - 1).to_pylist()[0]
    reached = last[snapshot.manifest.score]
    return (
        f"{text(snapshot.manifest.score).capitalize()} of trial {uid} over queries, {rows.num_rows} reports: "
        f"{reached:.1%} at {last['queries']:,} queries at the end."
    )
