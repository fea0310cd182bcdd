"""The curves of many trials: bands of all of them, and some as lines."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from raysys.figures.curve import AXES
from raysys.figures.looks import GREY, colour, empty_figure, plain, symbol, text
from raysys.fronts.objectives import TESTED
from raysys.store.curves import GAP, Bands, Curves, bands, moving_median, read_curves
from raysys.store.reader import Snapshot
from raysys.store.schema import LOSS

_SVG_POINTS = 1000
_FILL = "rgba(136,136,136,{})"

Groups = Sequence[tuple[str, Sequence[str]]]
"""What is drawn as lines: (name, uids) of each group, which is one trace."""


def curves_figure(
    snapshot: Snapshot,
    x: str,
    y: str,
    groups: Groups = (),
    window: int = 1,
    template: str | None = None,
) -> go.Figure:
    """Bands (10-90 %, 25-75 %) and median of all trials' `y` over `x`, and the curves of `groups`.

    `y` is one of `raysys.store.curves.curve_columns`. With a `window` (odd) above 1 the lines are moving
    medians of that many reports, and the raw reports are points beside them.
    """
    figure = empty_figure(template)
    share = y in TESTED or y == GAP
    digits = ".2%" if share else ".4g"
    _add_bands(figure, bands(snapshot, x, y), digits)
    for number, (name, uids) in enumerate(groups):
        curves = read_curves(snapshot, x, y, uids)
        if curves.uids:
            _add_lines(figure, curves, name, number, window, digits)
    if y == GAP:
        figure.add_hline(y=0, line={"dash": "dot", "width": 1, "color": GREY})
    figure.update_layout(
        xaxis={
            "title": AXES[x],
            **({"type": "log", "dtick": "D2", "tickformat": ","} if x == "queries" else {}),
        },
        yaxis={"title": plain(words(y)), "tickformat": ".0%" if share else ""},
        showlegend=True,
    )
    return figure


def curves_alt(snapshot: Snapshot, x: str, y: str, groups: Groups = ()) -> str:
    """What the figure shows, in words."""
    lines = [
        f"{len(uids)} {'trial' if len(uids) == 1 else 'trials'} ({name})" for name, uids in groups if uids
    ]
    told = f"; lines of {', '.join(lines)}" if lines else ""
    spread = bands(snapshot, x, y)
    if not spread.trials:
        return f"{words(y).capitalize()} over {x}: no trial has reported it."
    middle = _number(spread.quantiles[2, -1], y)
    return (
        f"{words(y).capitalize()} over {x}: quantile bands of {spread.trials:,} trials, median {middle} "
        f"at the end, where {spread.n[-1]:,} are left{told}."
    )


def words(y: str) -> str:
    """What a curve shows, in words."""
    if y == GAP:
        return "val accuracy less agreement"
    return f"{y.removeprefix(LOSS)} loss" if y.startswith(LOSS) else text(y)


def _number(value: float, y: str) -> str:
    return f"{value:.1%}" if y in TESTED or y == GAP else f"{value:.4g}"


def _add_bands(figure: go.Figure, spread: Bands, digits: str) -> None:
    around = np.concatenate([spread.grid, spread.grid[::-1]])
    for name, low, high, opacity in (("10-90 % of trials", 0, 4, 0.18), ("25-75 %", 1, 3, 0.32)):
        figure.add_scatter(
            name=name,
            x=around,
            y=np.concatenate([spread.quantiles[low], spread.quantiles[high][::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=_FILL.format(opacity),
            hoverinfo="skip",
        )
    figure.add_scatter(
        name="median of all trials",
        x=spread.grid,
        y=spread.quantiles[2],
        mode="lines",
        line={"color": GREY, "width": 2},
        customdata=np.column_stack([spread.n, spread.quantiles.T]),
        hovertemplate=(
            f"median %{{y:{digits}}} of %{{customdata[0]:,}} trials<br>"
            f"25-75 %: %{{customdata[2]:{digits}}} to %{{customdata[4]:{digits}}}<br>"
            f"10-90 %: %{{customdata[1]:{digits}}} to %{{customdata[5]:{digits}}}<extra></extra>"
        ),
    )


def _add_lines(figure: go.Figure, curves: Curves, name: str, number: int, window: int, digits: str) -> None:
    name, marker = plain(name), {"color": colour(number), "symbol": symbol(number)}
    counts = np.diff(curves.ends)
    owners = np.repeat(np.array(curves.uids, dtype=object), counts)
    draw = go.Scatter if len(curves.y) <= _SVG_POINTS else go.Scattergl
    smooth = curves.y
    if window > 1:
        smooth = np.concatenate([moving_median(curves.of(i)[1], window) for i in range(len(counts))])
    smoothing = f", median of {window} reports" if window > 1 else ""
    line = {
        "name": f"{name}{f' ({len(counts)})' if len(counts) > 1 else ''}{smoothing}",
        "mode": "lines" if window > 1 else "lines+markers",
        "line": {"color": colour(number), "width": 1 if len(counts) > 1 else 2},
        "marker": {**marker, "size": 5},
    }
    hover = f"%{{customdata}}<br>%{{y:{digits}}} at %{{x:,.4~r}}<extra>%{{fullData.name}}</extra>"
    gaps = curves.ends[1:-1]  # one trace: a NaN between two trials parts their lines
    figure.add_trace(
        draw(
            **line,
            x=np.insert(curves.x, gaps, np.nan),
            y=np.insert(smooth, gaps, np.nan),
            customdata=np.insert(owners, gaps, ""),
            hovertemplate=hover,
        )
    )
    if window > 1:
        figure.add_trace(
            draw(
                name=f"{name}, raw",
                mode="markers",
                marker={**marker, "size": 4},
                opacity=0.4,
                x=curves.x,
                y=curves.y,
                customdata=owners,
                hovertemplate=hover,
            )
        )
