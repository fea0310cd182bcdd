"""Axes of queries and of shares: how far they go, limits and the teacher drawn in them."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from raysys.figures.looks import GREY, ORANGE
from raysys.store.reader import Snapshot

LOG_QUERIES: dict[str, Any] = {
    "type": "log",
    "dtick": "D2",
    "tickformat": ",",
    "minorloglabels": "complete",
}
"""An axis of queries."""


def fit(figure: go.Figure) -> None:
    """End both axes, x on a log scale, where the points do."""
    (low, high), (bottom, top) = extent(figure)
    figure.update_layout(xaxis={"range": np.log10([low, high]).tolist()}, yaxis={"range": [bottom, top]})


def shade_limits(figure: go.Figure, max_queries: float | None, min_score: float | None) -> None:
    """Draw limits on x (queries) and y (score) as lines, and shade what is beyond them.

    The axes must have been fitted, as a shade would otherwise widen them.
    """
    line = {"dash": "dash", "width": 1, "color": GREY}
    shade: dict[str, Any] = {"fillcolor": GREY, "opacity": 0.15, "line": {"width": 0}, "layer": "below"}
    if max_queries is not None:
        figure.add_vline(x=max_queries, line=line)
        figure.add_vrect(x0=max_queries, x1=1e15, **shade)
    if min_score is not None:
        figure.add_hline(y=min_score, line=line)
        figure.add_hrect(y0=-1, y1=min_score, **shade)


def extent(figure: go.Figure) -> tuple[tuple[float, float], tuple[float, float]]:
    """The least and largest x and y that show all of a figure's points and level lines, and a little more.

    x in queries, y a share.
    """
    drawn = [trace for trace in figure.data if trace.x is not None and trace.xaxis in (None, "x")]
    x, y = (np.concatenate([[], *(np.asarray(trace[axis], dtype=float) for trace in drawn)]) for axis in "xy")
    levels = [shape.y0 for shape in figure.layout.shapes if shape.y0 == shape.y1]
    x = np.log10(x[np.isfinite(x) & (x > 0)])
    x = x if len(x) else np.zeros(1)
    y = np.append(y[np.isfinite(y)], levels)
    wide, tall = 0.04 * np.ptp(x) or 0.1, 0.05 * np.ptp(y) if len(y) > 1 else 0.05
    low, high = 10 ** (x.min() - wide), 10 ** (x.max() + wide)
    return (float(low), float(high)), (float(min(y, default=0) - tall), float(max(y, default=1) + tall))


def teacher_line(figure: go.Figure, snapshot: Snapshot) -> None:
    """The teacher's accuracy, if known, as a dotted line: the student's natural ceiling."""
    teacher = snapshot.manifest.teacher
    if teacher is not None and teacher.val_accuracy is not None:
        figure.add_hline(
            y=teacher.val_accuracy,
            line={"dash": "dot", "width": 1.5, "color": ORANGE},
            annotation={"text": f"teacher, val {teacher.val_accuracy:.1%}", "xanchor": "left", "x": 0},
        )
