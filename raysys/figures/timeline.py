"""When trials worked, side by side: whether workers were busy, and what they ended with."""

import heapq
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import plotly.graph_objects as go

from raysys.figures.looks import STATES, bar, empty_figure
from raysys.records import TrialStatus
from raysys.store.points import ended_trials, floats
from raysys.store.reader import Snapshot
from raysys.teacher.spans import Span

MOST_SPANS = 500
"""The latest are drawn."""


def timeline_figure(
    snapshot: Snapshot, spans: Sequence[Span] | None, template: str | None = None
) -> go.Figure:
    """A bar for each of the latest spans, in as few lanes as there were trials at once.

    Without spans, the work of the trials that ended laid end to end: the tables do not say when they began.
    """
    shown = _shown(snapshot, spans)
    status = dict(zip(snapshot.trials["uid"].to_pylist(), snapshot.trials["status"].to_pylist(), strict=True))
    first = min((span.start for span in shown), default=0.0)
    unit, seconds = _unit(max((span.end for span in shown), default=0.0) - first)
    lanes = np.array(_lanes(shown))
    states = np.array([status.get(span.uid, TrialStatus.RUNNING.value) for span in shown])
    start = np.array([span.start - first for span in shown]) / seconds
    length = np.array([span.end - span.start for span in shown]) / seconds
    told = [
        (span.uid, f"{span.end - span.start:,.1f} s" + ("" if span.closed else ", until last heard of"))
        for span in shown
    ]
    figure = empty_figure(template)
    for name, looks in STATES.items():
        rows = np.flatnonzero(states == name)
        if len(rows):
            figure.add_bar(
                name=name,
                orientation="h",
                base=start[rows],
                x=length[rows],
                y=lanes[rows],
                customdata=np.array(told, dtype=object)[rows],
                marker=bar(*looks) | {"line": {"width": 0.5, "color": "white"}},
                hovertemplate="%{customdata[0]}<br>%{customdata[1]}<extra>%{fullData.name}</extra>",
            )
    moment = f"{datetime.fromtimestamp(first, UTC):%Y-%m-%d %H:%M:%S} UTC"
    figure.update_layout(
        barmode="overlay",
        bargap=0.1,
        xaxis={"title": f"{unit} of work, laid end to end" if spans is None else f"{unit} since {moment}"},
        yaxis={
            "title": "trials at once",
            "dtick": max(1, lanes.max(initial=0) // 8),
            "autorange": "reversed",
        },
        showlegend=True,
    )
    return figure


def timeline_alt(snapshot: Snapshot, spans: Sequence[Span] | None) -> str:
    """What the figure shows, in words."""
    shown = _shown(snapshot, spans)
    if spans is None:
        return f"Work of the last {len(shown)} trials that ended, laid end to end in the order of their ends."
    return (
        f"When trials worked: the latest {len(shown)} of {len(spans)} spans, "
        f"at most {max(_lanes(shown), default=0)} at once."
    )


def _shown(snapshot: Snapshot, spans: Sequence[Span] | None) -> Sequence[Span]:
    return (_end_to_end(snapshot) if spans is None else spans)[-MOST_SPANS:]


def _end_to_end(snapshot: Snapshot) -> list[Span]:
    trials = ended_trials(snapshot)
    moments = np.append(0.0, np.nancumsum(floats(trials, "seconds"))).tolist()
    rows = zip(trials["uid"].to_pylist(), moments[:-1], moments[1:], strict=True)
    return [Span(*row, closed=True) for row in rows]


def _unit(seconds: float) -> tuple[str, float]:
    """In what to tell a time: its name and its seconds."""
    return next(
        ((name, size) for name, size in (("hours", 3600.0), ("minutes", 60.0)) if seconds > 2 * size),
        ("seconds", 1.0),
    )


def _lanes(spans: Sequence[Span]) -> list[int]:
    """For each span, by their starts, the first lane that is free then, from 1."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    lanes = []
    for span in spans:
        while busy and busy[0][0] <= span.start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy) + 1
        heapq.heappush(busy, (span.end, lane))
        lanes.append(lane)
    return lanes
