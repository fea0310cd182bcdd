"""The front: what accuracy costs in queries. Figures leave colours of text and paper to the theme."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from raysys.figures.axes import LOG_QUERIES, fit, shade_limits, teacher_line
from raysys.figures.looks import BLUE, GREY, ORANGE, PINK, empty_figure, plain, text
from raysys.fronts.attainment import staircase
from raysys.fronts.front import Front
from raysys.fronts.objectives import ACCURACY, SECONDS
from raysys.fronts.points import Bools, Ints
from raysys.records import TrialStatus
from raysys.store.points import (
    Kind,
    floats,
    front_within,
    point_of,
    points_table,
    positions,
    run_front,
    varying_parameters,
)
from raysys.store.reader import Snapshot

_SYMBOLS = {
    "dominated": "circle",
    "reports": "circle",
    "not counted": "asterisk-open",
    TrialStatus.STOPPED.value: "circle-open",
    TrialStatus.INTERRUPTED.value: "square-open",
    TrialStatus.RUNNING.value: "triangle-up-open",
    TrialStatus.FAILED.value: "x-open",
    TrialStatus.PENDING.value: "diamond-open",
}
"""What points off the front are called, in the order of the legend."""

_SVG_POINTS = 1000
"""More points than this are drawn by WebGL, and only the front tells its config on hovering."""

_MOST_POINTS = {"dominated": 10_000, "reports": 10_000, TrialStatus.STOPPED.value: 5000}
"""Of more points (of other names 1,000) an even sample is drawn, and the legend says so."""

_MOST_TOLD = 8
"""Of more parameters that differ, the first are told on hovering."""

_HOVER = (
    "%{{customdata[0]}}%{{customdata[1]}}<br>%{{y:.2%}} {score}<br>%{{x:,}} queries<br>%{{customdata[2]}}"
    "<extra>{extra}</extra>"
)

_KNEE = (
    "knee: farthest from the chord<br>between the front's ends, on<br>(score, log queries) scaled to [0, 1]"
)


def front_figure(
    snapshot: Snapshot,
    kind: Kind = "final",
    max_queries: float | None = None,
    min_accuracy: float | None = None,
    template: str | None = None,
    *,
    max_seconds: float | None = None,
    share: float = 1.0,
    pins: Sequence[str] = (),
) -> go.Figure:
    """Points, front (a step line: what the money buys until the next point), knee and teacher.

    With limits the front shows only its part within them, and what is beyond those on queries and score is
    shaded. Of the points off the front the `share` with the best scores is drawn, 0 to 1; `pins` are uids
    to ring. Give a `template` ("plotly_white") for files; the dashboard's theme fills it in otherwise.
    `customdata` of every point begins with its uid.
    """
    whole = run_front(snapshot, kind)
    front = front_within(snapshot, whole, kind, max_queries, min_accuracy, max_seconds)
    figure = empty_figure(template)
    for name, at in _clouds(snapshot, whole, front, kind, share).items():
        figure.add_trace(_cloud(snapshot, whole, kind, name, at))
    beyond = np.setdiff1d(whole.members, front.members)
    if len(beyond):
        marker = {"symbol": "circle-open", "size": 9, "color": BLUE}
        points = points_table(snapshot, whole, kind, beyond)
        figure.add_trace(_markers(snapshot, points, "front beyond the limits", marker))
    if len(front.members):
        figure.add_traces(_front_lines(snapshot, front, kind))
    if front.knee is not None and front.knee in front.members:
        marker = {"symbol": "diamond-open", "size": 17, "color": ORANGE, "line": {"width": 2.5}}
        points = points_table(snapshot, whole, kind, np.array([front.knee]))
        figure.add_trace(_markers(snapshot, points, "knee", marker, _KNEE))
    if pins:
        figure.add_trace(_pinned(snapshot, whole, kind, pins))
    if snapshot.manifest.score == ACCURACY.name:  # the teacher agrees with itself
        teacher_line(figure, snapshot)
    figure.update_layout(
        xaxis={**LOG_QUERIES, "title": "teacher queries (images), fewer is better"},
        yaxis={"title": f"student's {text(snapshot.manifest.score)}, more is better", "tickformat": ".0%"},
    )
    fit(figure)
    shade_limits(figure, max_queries, min_accuracy)
    return figure


def front_alt(
    snapshot: Snapshot,
    kind: Kind = "final",
    max_queries: float | None = None,
    min_accuracy: float | None = None,
    max_seconds: float | None = None,
) -> str:
    """What the figure shows, in words."""
    front = front_within(snapshot, run_front(snapshot, kind), kind, max_queries, min_accuracy, max_seconds)
    total = snapshot.reports.num_rows if kind == "anytime" else snapshot.counts()[TrialStatus.FINISHED]
    limited = (max_queries, min_accuracy, max_seconds) != (None, None, None)
    points = ("reports" if kind == "anytime" else "finished trials") + (" within limits" * limited)
    name = text(snapshot.manifest.score)
    if not len(front.members):
        return f"{name.capitalize()} over queries; no front yet among {total} {points}."
    first, last = (f"{front.score[at]:.1%} at {front.queries[at]:,.0f} queries" for at in (0, -1))
    return (
        f"Pareto front of {len(front.members)} points among {total} {points}: {name} from {first} to {last}."
    )


def _clouds(snapshot: Snapshot, whole: Front, front: Front, kind: Kind, share: float) -> dict[str, Ints]:
    """The points off the front, by what they are called."""
    score, eligible = positions(snapshot, whole, kind)
    off = np.isfinite(score)
    if share < 1 and off.any():
        off &= score >= np.quantile(score[off], 1 - share) if share > 0 else False
    off[whole.members] = off[front.members] = False
    if kind == "anytime":
        names: dict[str, Bools] = {"reports": eligible, "not counted": ~eligible}
    else:
        status = points_table(snapshot, whole, kind)["status"].to_numpy(zero_copy_only=False)
        finished = status == TrialStatus.FINISHED.value
        names = {"dominated": finished & eligible, "not counted": finished & ~eligible}
        names |= {one.value: status == one.value for one in TrialStatus if one is not TrialStatus.FINISHED}
    found = {name: np.flatnonzero(off & names[name]) for name in _SYMBOLS if name in names}
    return {name: at for name, at in found.items() if len(at)}


def _cloud(snapshot: Snapshot, whole: Front, kind: Kind, name: str, at: Ints) -> go.Scatter | go.Scattergl:
    """Points off the front: faint."""
    symbol, most, total = _SYMBOLS[name], _MOST_POINTS.get(name, _SVG_POINTS), len(at)
    if total > most:
        at = at[np.linspace(0, total - 1, most).astype(np.int64)]
        name = f"{name} ({most:,} of {total:,})"
    draw = go.Scatter if len(at) <= _SVG_POINTS else go.Scattergl
    points = points_table(snapshot, whole, kind, at)
    return draw(
        name=name,
        mode="markers",
        marker={"color": GREY, "size": 7, "symbol": symbol},
        opacity=0.45,
        **_data(snapshot, points, configs=len(at) <= _SVG_POINTS),
    )


def _front_lines(snapshot: Snapshot, front: Front, kind: Kind) -> list[go.Scatter]:
    """The front; bars are the spread over seeds, where a point has several.

    With a third objective some members buy less for more queries: then the line joins the others only.
    """
    points = points_table(snapshot, front, kind, front.members)
    spread = floats(points, f"{snapshot.manifest.score}_std")
    stairs = staircase(front)
    flat = len(snapshot.manifest.objectives) == 2
    members = go.Scatter(
        name="front",
        mode="lines+markers" if flat else "markers",
        line={"shape": "hv", "color": BLUE, "width": 2} if flat else None,
        marker={"size": 9, "color": BLUE},
        error_y={"array": spread, "width": 3, "thickness": 1} if np.isfinite(spread).any() else None,
        **_data(snapshot, points),
    )
    line = go.Scatter(
        name="best score for its queries",
        mode="lines",
        line={"shape": "hv", "color": BLUE, "width": 2},
        x=front.queries[stairs],
        y=front.score[stairs],
        hoverinfo="skip",
    )
    return [members] if flat else [line, members]


def _pinned(snapshot: Snapshot, whole: Front, kind: Kind, pins: Sequence[str]) -> go.Scatter:
    """Rings with uids; of a trial whose reports are points around the last, of several seeds their mean."""
    score, _ = positions(snapshot, whole, kind)
    points: dict[int, list[str]] = {}
    for uid in pins:
        point = point_of(snapshot, whole, uid, kind)
        if point is not None and np.isfinite(score[point]):
            points.setdefault(point, []).append(uid)
    known = sum(map(len, points.values()))
    name = "pinned" if known == len(pins) else f"pinned ({known} of {len(pins)} have a score)"
    marker = {"symbol": "circle-open", "size": 20, "color": PINK, "line": {"width": 2.5}}
    table = points_table(snapshot, whole, kind, np.array([*points], dtype=np.int64))
    trace = _markers(snapshot, table, name, marker)
    labels = [plain(", ".join(uids)) for uids in points.values()]
    places = [("top center", "bottom center")[number % 2] for number in range(len(points))]
    return trace.update(mode="markers+text", text=labels, textposition=places, cliponaxis=False)


def _markers(
    snapshot: Snapshot, points: pa.Table, name: str, marker: dict[str, Any], extra: str = ""
) -> go.Scatter:
    return go.Scatter(name=name, mode="markers", marker=marker, **_data(snapshot, points, extra=extra))


def _data(snapshot: Snapshot, points: pa.Table, configs: bool = True, extra: str = "") -> dict[str, Any]:
    """Coordinates of some points, and what hovering tells: uid, seeds, and parameters that differ."""
    uids = points["uid"].to_pylist()
    texts = _config_texts(snapshot, uids) if configs else [""] * len(uids)
    if configs and SECONDS.name in snapshot.manifest.goal.names:
        seconds = floats(points, SECONDS.name)
        texts = [f"{spent:.1f} s<br>{words}" for spent, words in zip(seconds, texts, strict=True)]
    seeds = ["" if n == 1 else f", mean of {n} seeds" for n in points["seeds"].to_pylist()]
    return {
        "x": floats(points, "queries"),
        "y": floats(points, snapshot.manifest.score),
        "customdata": np.array([uids, seeds, texts], dtype=object).T,
        "hovertemplate": _HOVER.format(
            score=text(snapshot.manifest.score), extra=extra or "%{fullData.name}"
        ),
    }


def _config_texts(snapshot: Snapshot, uids: list[str]) -> list[str]:
    trials: pa.Table = snapshot.trials
    configs = dict(zip(trials["uid"].to_pylist(), trials["config"].to_pylist(), strict=True))
    names = varying_parameters(snapshot)
    texts = []
    for uid in uids:
        options = json.loads(configs.get(uid, "{}"))
        told = [f"{name} = {_short(options[name])}" for name in names if name in options]
        more = [f"and {len(told) - _MOST_TOLD} more parameters"] if len(told) > _MOST_TOLD else []
        texts.append("<br>".join(map(plain, told[:_MOST_TOLD] + more)))
    return texts


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
