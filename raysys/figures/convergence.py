"""Stop now or go on: what each front gained for what was paid, and how the values of trials spread."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from raysys.figures.looks import colour, dash, empty_figure, plain, symbol, text
from raysys.fronts.objectives import TESTED, Floats
from raysys.store.convergence import Progress, finished_values
from raysys.store.reader import Snapshot

OVER = {
    "trials": "trials that ended",
    "hours": "hours of work of all trials",
    "queries": "queries of all trials (images)",
    "USD": "cost of these queries (USD)",
}
"""What is paid for a front, and how an axis tells it."""

_MOST_STEPS = 1000
"""Steps of a line: where it has more, an even sample of them is drawn."""


def growth_figure(
    lines: Mapping[str, Progress], over: str, what: str = "hypervolume", template: str | None = None
) -> go.Figure:
    """The hypervolume, or the size of the `front`, of each run (by name) over one of `OVER`."""
    figure = _figure(OVER[over], template)
    for number, (name, line) in enumerate(lines.items()):
        x, y = _steps(_axis(line, over), getattr(line, what).astype(np.float64))
        figure.add_scatter(
            name=plain(name),
            x=x,
            y=y,
            hovertemplate="%{y:.4f}" if what == "hypervolume" else "%{y} points",
            **_look(number, len(x)),
        )
    title = "hypervolume (more is better)" if what == "hypervolume" else "points on the front"
    figure.update_layout(yaxis={"title": title, "rangemode": "tozero", "tickformat": "~r"})
    return figure


def growth_alt(lines: Mapping[str, Progress], over: str, what: str = "hypervolume") -> str:
    """What the figure shows, in words."""
    name = "Hypervolume" if what == "hypervolume" else "Size of the front"
    ends = ", ".join(
        f"{run} {getattr(line, what)[-1]:.4g} after {line.ended} trials" for run, line in lines.items()
    )
    return f"{name} over {OVER[over]}, {len(lines)} runs: {ends}."


def spread_figure(runs: Sequence[Snapshot], column: str, template: str | None = None) -> go.Figure:
    """The share of finished trials at or below each value of an objective (EDF), a line a run."""
    share = column in TESTED
    figure = _figure(f"{text(column)} ({'more' if share else 'less'} is better)", template)
    for number, run in enumerate(runs):
        values, _ = finished_values(run, column)
        if not len(values):
            continue
        x = np.concatenate([values[:1], values])
        x, y = _sample(x, np.linspace(0, 1, len(x)))
        figure.add_scatter(
            name=f"{plain(run.name)} (n = {len(values):,})",
            x=x,
            y=y,
            hovertemplate="%{y:.1%} of trials have at most %{x" + (":.2%}" if share else ":,.5~g}"),
            **_look(number, len(x)),
        )
    figure.update_layout(
        xaxis={"tickformat": ".0%"} if share else {"tickformat": "~s"},
        yaxis={"title": "share of finished trials", "tickformat": ".0%", "range": [-0.02, 1.02]},
    )
    if column == "queries":
        figure.update_xaxes(type="log", dtick="D2", minorloglabels="complete")
    return figure


def spread_alt(runs: Sequence[Snapshot], column: str) -> str:
    """What the figure shows, in words; values that are not finite are counted."""
    told = []
    for run in runs:
        values, others = finished_values(run, column)
        median = f", median {np.median(values):.4g}" if len(values) else ""
        left_out = f", {others:,} without a finite value" if others else ""
        told.append(f"{run.name} {len(values):,} trials{median}{left_out}")
    return f"How the {text(column)} of finished trials spreads (EDF): {'; '.join(told)}."


def _figure(over: str, template: str | None) -> go.Figure:
    figure = empty_figure(template)
    return figure.update_layout(
        xaxis={"title": over, "tickformat": "~s"},
        showlegend=True,
    )


def _axis(line: Progress, over: str) -> Floats:
    columns = {"hours": line.hours, "queries": line.queries, "USD": line.cost}
    return columns.get(over, np.arange(1.0, line.ended + 1))


def _steps(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The points of a step line at which it changes, and its end."""
    keep = np.flatnonzero(np.diff(y, prepend=np.nan) != 0)
    keep = np.unique(np.append(keep, len(y) - 1)) if len(y) else keep
    return _sample(x[keep], y[keep])


def _sample(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    at = np.linspace(0, len(x) - 1, min(len(x), _MOST_STEPS)).round().astype(np.int64)
    return x[at], y[at]


def _look(number: int, points: int) -> dict[str, object]:
    """Colour, dash and the marker at the line's end tell a run from the others."""
    last = np.zeros(points)
    last[-1:] = 10
    return {
        "mode": "lines+markers",
        "line": {"shape": "hv", "color": colour(number), "dash": dash(number), "width": 2},
        "marker": {"symbol": symbol(number), "size": last, "opacity": 1},
    }
