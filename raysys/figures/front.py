"""The front: what accuracy costs in queries. Figures leave colours of text and paper to the theme."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import pyarrow as pa

from raysys.fronts.front import Front
from raysys.fronts.objectives import ACCURACY
from raysys.records import TrialStatus
from raysys.store.points import Kind, floats, points_table, run_front, varying_parameters
from raysys.store.reader import Snapshot

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#888888"
"""Colours that everyone can tell apart (Okabe and Ito), in light and dark themes."""

_SVG_POINTS = 1000
"""More points than this are drawn by WebGL, and only the front tells its config on hovering."""

_MOST_POINTS = 10_000
"""Of more points off the front an even sample is drawn, and the legend says so."""

_HOVER = (
    "%{{customdata[0]}}<br>%{{y:.2%}} {score}<br>%{{x:,}} queries<br>%{{customdata[1]}}"
    "<extra>%{{fullData.name}}</extra>"
)


def front_figure(
    snapshot: Snapshot,
    kind: Kind = "final",
    max_queries: float | None = None,
    min_accuracy: float | None = None,
    template: str | None = None,
) -> go.Figure:
    """Points, front (a step line: what the money buys until the next point), knee and teacher.

    With limits the front shows only its part within them, and the limits as lines. Give a `template`
    ("plotly_white") for files; the dashboard's theme fills it in otherwise.
    """
    whole = run_front(snapshot, kind)
    points = points_table(snapshot, whole, kind)
    front = whole.within(max_queries, min_accuracy)
    figure = go.Figure(layout={"template": template} if template else None)
    for trace in _clouds(snapshot, whole, points):
        figure.add_trace(trace)
    figure.add_trace(_front_line(snapshot, points.take(front.members)))
    if front.knee is not None and front.knee in front.members:
        figure.add_trace(_knee(snapshot, points.take([front.knee])))
    if snapshot.manifest.score == ACCURACY.name:  # the teacher agrees with itself
        teacher_line(figure, snapshot)
    if max_queries is not None:
        figure.add_vline(x=max_queries, line={"dash": "dash", "width": 1, "color": GREY})
    if min_accuracy is not None:
        figure.add_hline(y=min_accuracy, line={"dash": "dash", "width": 1, "color": GREY})
    figure.update_layout(
        xaxis={
            "type": "log",
            "title": "teacher queries (images)",
            "dtick": "D2",
            "tickformat": ",",
            "minorloglabels": "complete",
        },
        yaxis={"title": f"student's {text(snapshot.manifest.score)}", "tickformat": ".0%"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        margin={"l": 70, "r": 20, "t": 40, "b": 60},
        hovermode="closest",
    )
    return figure


def front_alt(snapshot: Snapshot, kind: Kind = "final") -> str:
    """What the figure shows, in words."""
    front = run_front(snapshot, kind)
    total = snapshot.reports.num_rows if kind == "anytime" else snapshot.counts()[TrialStatus.FINISHED]
    points = "reports" if kind == "anytime" else "finished trials"
    name = text(snapshot.manifest.score)
    if not len(front.members):
        return f"{name.capitalize()} over queries; no front yet among {total} {points}."
    first, last = (f"{front.score[at]:.1%} at {front.queries[at]:,.0f} queries" for at in (0, -1))
    return (
        f"Pareto front of {len(front.members)} points among {total} {points}: {name} from {first} to {last}."
    )


def _clouds(snapshot: Snapshot, front: Front, points: pa.Table) -> list[go.Scatter | go.Scattergl]:
    """The points off the front: faint, and hollow where a trial was stopped."""
    off = np.ones(points.num_rows, dtype=bool)
    off[front.members] = False
    off &= np.isfinite(floats(points, snapshot.manifest.score))
    if "status" not in points.column_names:
        return [_cloud(snapshot, points, "reports", np.flatnonzero(off), "circle")] if off.any() else []
    status = points["status"].to_numpy()
    clouds = []
    for name, states, symbol in (
        ("dominated", (TrialStatus.FINISHED,), "circle"),
        ("not finished", tuple(TrialStatus), "circle-open"),
    ):
        rows = np.flatnonzero(off & np.isin(status, states))
        off[rows] = False
        if len(rows):
            clouds.append(_cloud(snapshot, points, name, rows, symbol))
    return clouds


def _cloud(
    snapshot: Snapshot, points: pa.Table, name: str, rows: npt.NDArray[np.int64], symbol: str
) -> go.Scatter | go.Scattergl:
    total = len(rows)
    if total > _MOST_POINTS:
        rows = rows[np.linspace(0, total - 1, _MOST_POINTS).astype(np.int64)]
        name = f"{name} ({_MOST_POINTS:,} of {total:,})"
    draw = go.Scatter if total <= _SVG_POINTS else go.Scattergl
    return draw(
        name=name,
        mode="markers",
        marker={"color": GREY, "size": 7, "symbol": symbol},
        opacity=0.45,
        **_data(snapshot, points.take(rows), configs=total <= _SVG_POINTS),
    )


def _front_line(snapshot: Snapshot, points: pa.Table) -> go.Scatter:
    """The front; bars are the spread over seeds, where a point has several."""
    spread = floats(points, f"{snapshot.manifest.score}_std")
    return go.Scatter(
        name="front",
        mode="lines+markers",
        line={"shape": "hv", "color": BLUE, "width": 2},
        marker={"size": 9},
        error_y={"array": spread, "width": 3, "thickness": 1} if np.isfinite(spread).any() else None,
        **_data(snapshot, points),
    )


def _knee(snapshot: Snapshot, points: pa.Table) -> go.Scatter:
    return go.Scatter(
        name="knee",
        mode="markers",
        marker={"symbol": "diamond-open", "size": 17, "color": ORANGE, "line": {"width": 2.5}},
        **_data(snapshot, points),
    )


def _data(snapshot: Snapshot, points: pa.Table, configs: bool = True) -> dict[str, Any]:
    """Coordinates of some points, and what hovering tells: uid, seeds, and the parameters that differ."""
    uids = points["uid"].to_pylist()
    texts = _config_texts(snapshot, uids) if configs else [""] * len(uids)
    seeds = points["seeds"].to_pylist()
    names = [uid if n == 1 else f"{uid}, mean of {n} seeds" for uid, n in zip(uids, seeds, strict=True)]
    return {
        "x": floats(points, "queries"),
        "y": floats(points, snapshot.manifest.score),
        "customdata": np.array([names, texts], dtype=object).T,
        "hovertemplate": _HOVER.format(score=text(snapshot.manifest.score)),
    }


def _config_texts(snapshot: Snapshot, uids: list[str]) -> list[str]:
    trials: pa.Table = snapshot.trials
    configs = dict(zip(trials["uid"].to_pylist(), trials["config"].to_pylist(), strict=True))
    names = varying_parameters(snapshot)
    texts = []
    for uid in uids:
        options = json.loads(configs.get(uid, "{}"))
        texts.append("<br>".join(f"{name} = {_short(options[name])}" for name in names if name in options))
    return texts


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def teacher_line(figure: go.Figure, snapshot: Snapshot) -> None:
    """The teacher's accuracy, if known, as a dotted line: the student's natural ceiling."""
    teacher = snapshot.manifest.teacher
    if teacher is not None and teacher.val_accuracy is not None:
        figure.add_hline(
            y=teacher.val_accuracy,
            line={"dash": "dot", "width": 1.5, "color": ORANGE},
            annotation={"text": f"teacher {teacher.val_accuracy:.1%}", "xanchor": "left", "x": 0},
        )


def text(column: str) -> str:
    """A column's name in words."""
    return column.replace("_", " ")
