"""One trial's way: what it reached, and its losses, over the queries spent or its steps."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from raysys.figures.axes import teacher_line
from raysys.figures.looks import BLUE, GREY, ORANGE, dash, empty_figure, plain, text
from raysys.fronts.objectives import TESTED
from raysys.store.points import floats
from raysys.store.reader import Snapshot
from raysys.store.schema import LOSS

AXES = {
    "queries": "teacher queries (images)",
    "step": "step of the trial",
    "seconds": "seconds of work of the trial",
}
"""What a curve may go over, in words."""

_SVG_POINTS = 1000
_MILESTONE = {"symbol": "diamond-open", "size": 11, "color": ORANGE, "line": {"width": 2}}


def curve_figure(snapshot: Snapshot, uid: str, x: str = "queries", template: str | None = None) -> go.Figure:
    """Val accuracy and agreement with the teacher of trial `uid` over `x` (of `AXES`), one point a report.

    What ranks the students is the bold line; without labels there is no accuracy. Milestones, which are of
    the student that those queries would deliver, are marked and not joined.
    """
    rows = _reports(snapshot, uid)
    figure = empty_figure(template)
    milestone = np.asarray(rows["milestone"])
    for column in sorted(TESTED, key=lambda name: name == snapshot.manifest.score):  # the score on top
        reached = floats(rows, column)
        ranks = column == snapshot.manifest.score
        if not (ranks or np.isfinite(reached).any()):
            continue
        line = {"color": BLUE, "dash": "solid"} if ranks else {"color": GREY, "dash": "dash"}
        marker = {"symbol": "circle" if ranks else "square"}
        _add(figure, rows, ~milestone, reached, x, name=text(column), line=line, marker=marker)
        if ranks and milestone.any():
            _add(figure, rows, milestone, reached, x, name="milestone", mode="markers", marker=_MILESTONE)
    teacher_line(figure, snapshot)
    _lay_out(figure, x, {"title": "share of val images", "tickformat": ".0%"})
    return figure


def loss_figure(snapshot: Snapshot, uid: str, x: str = "queries", template: str | None = None) -> go.Figure:
    """The losses of trial `uid` over `x` (of `AXES`), one point a report; no trace where it has none."""
    rows = _reports(snapshot, uid)
    rows = rows.filter(pc.invert(rows["milestone"]))
    figure = empty_figure(template)
    names = [name for name in rows.column_names if name.startswith(LOSS)]
    shown = [(name, floats(rows, name)) for name in names]
    for number, (name, values) in enumerate(one for one in shown if np.isfinite(one[1]).any()):
        line = {"dash": dash(number)}
        title = plain(name.removeprefix(LOSS))
        _add(figure, rows, np.isfinite(values), values, x, name=title, line=line, digits=".4g")
    _lay_out(figure, x, {"title": "loss"})
    return figure


def curve_alt(snapshot: Snapshot, uid: str, x: str = "queries") -> str:
    """What `curve_figure` shows, in words."""
    rows = _reports(snapshot, uid)
    if not rows.num_rows:
        return f"Trial {uid} has no reports yet."
    last = rows.slice(rows.num_rows - 1).to_pylist()[0]
    reached = last[snapshot.manifest.score]
    return (
        f"{text(snapshot.manifest.score).capitalize()} of trial {uid} over {x}, {rows.num_rows} reports: "
        f"{'unknown' if reached is None else f'{reached:.1%}'} at {last['queries']:,} queries at the end."
    )


def loss_alt(snapshot: Snapshot, uid: str, x: str = "queries") -> str:
    """What `loss_figure` shows, in words."""
    rows = _reports(snapshot, uid)
    names = [name for name in rows.column_names if name.startswith(LOSS)]
    told = [name.removeprefix(LOSS) for name in names if np.isfinite(floats(rows, name)).any()]
    return f"Losses of trial {uid} over {x}, {rows.num_rows} reports: {', '.join(told) or 'none'}."


def _reports(snapshot: Snapshot, uid: str) -> pa.Table:
    return snapshot.reports.filter(pc.equal(snapshot.reports["uid"], uid))


def _add(
    figure: go.Figure, rows: pa.Table, keep: Any, values: Any, x: str, digits: str = ".2%", **style: Any
) -> None:
    draw = figure.add_scatter if rows.num_rows <= _SVG_POINTS else figure.add_scattergl
    columns = ["step", "queries", "seconds"]
    draw(
        x=floats(rows, x)[keep],
        y=values[keep],
        customdata=np.stack([floats(rows, one)[keep] for one in columns], axis=1),
        hovertemplate=f"%{{y:{digits}}}<br>step %{{customdata[0]:.0f}}, %{{customdata[1]:,}} queries, "
        "%{customdata[2]:.4g} s",
        **{"mode": "lines+markers", **style},
    )


def _lay_out(figure: go.Figure, x: str, yaxis: dict[str, Any]) -> None:
    figure.update_layout(
        xaxis={"title": AXES[x], "rangemode": "tozero", "tickformat": ","},
        yaxis=yaxis,
        showlegend=True,
    )
