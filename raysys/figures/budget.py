"""How many teacher queries to buy: the score attained within a budget, and what the next queries add."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from raysys.figures.axes import LOG_QUERIES, fit, shade_limits, teacher_line
from raysys.figures.looks import colour, dash, empty_figure, faint, plain, symbol, text
from raysys.fronts.attainment import staircase, steps
from raysys.fronts.objectives import ACCURACY
from raysys.store.budgets import LOWER, UPPER, Curve, bought, budgets, gains, unit


def budget_figure(
    found: Sequence[Curve],
    max_queries: float | None = None,
    min_score: float | None = None,
    template: str | None = None,
) -> go.Figure:
    """The best score within each budget, a step line a curve; medians with the band of their seeds.

    Faint dots are what each seed attains. Limits are lines, and what is beyond them is shaded.
    """
    figure = empty_figure(template)
    ends = steps([front for one in found for front in one.fronts])
    shown = [one for one in found if any(len(front.members) for front in one.fronts)]
    figure.add_traces([_line(one, number, ends[-1]) for number, one in enumerate(shown)])
    medians = [(one, number) for number, one in enumerate(shown) if one.banded]
    figure.add_traces([_seeds(one, number) for one, number in medians])
    if shown:
        score = shown[0].runs[0].manifest.score
        if score == ACCURACY.name:
            teacher_line(figure, shown[0].runs[0])
        figure.update_yaxes(title=f"best {text(score)} within it, more is better", tickformat=".0%")
    fit(figure)
    bottom = figure.layout.yaxis.range[0]
    figure.add_traces([trace for one in medians for trace in _band(*one, ends[-1], bottom)])
    figure.update_layout(xaxis={**LOG_QUERIES, "title": "budget: teacher queries of a trial (images)"})
    shade_limits(figure, max_queries, min_score)
    return figure


def gain_figure(found: Sequence[Curve], template: str | None = None) -> go.Figure:
    """What more queries buy: percentage points for each `unit` of them (see `gains`).

    A step goes from the queries of the best student within a round budget to those of the next such one.
    """
    figure = empty_figure(template)
    at = budgets(found)
    for number, one in enumerate(found):
        x, first = np.unique(bought(one, at), return_index=True)
        x, y = x[np.isfinite(x)], gains(one, at)[first][: np.isfinite(x).sum()]
        if len(x) > 1:
            figure.add_scatter(
                name=_name(one),
                mode="lines+markers",
                line={"shape": "hv", **_stroke(number)},
                marker=_marker(number),
                x=x,
                y=np.append(y[:-1], y[-2]),
                customdata=np.append(x[1:], x[-1]),
                hovertemplate=f"%{{y:.2f}} points for each {unit(at):,} more queries"
                "<br>from %{x:,} to %{customdata:,}<extra>%{fullData.name}</extra>",
            )
    figure.update_layout(
        xaxis={**LOG_QUERIES, "title": "budget: teacher queries of a trial (images)"},
        yaxis={"title": f"percentage points per {unit(at):,} more queries", "rangemode": "tozero"},
        height=360,
    )
    return figure


def budget_alt(found: Sequence[Curve]) -> str:
    """What the figures show, in words."""
    told = []
    for one in found:
        at = steps(one.fronts)
        reached = one.attained(at)
        known = np.flatnonzero(np.isfinite(reached))
        ends = (
            [f"{reached[place]:.1%} for {at[place]:,.0f} queries" for place in known[[0, -1]]]
            if len(known)
            else ["no student"]
        )
        told.append(f"{_name(one)}: {' to '.join(dict.fromkeys(ends))}")
    return "Best score attained within a budget of queries. " + "; ".join(told) + "."


def _name(one: Curve) -> str:
    """In the legend: of how many seeds it is the median."""
    return plain(one.name) + (f" (median of {len(one.runs)})" if one.banded else "")


def _line(one: Curve, number: int, end: float) -> go.Scatter:
    """A step line to the largest budget of all; markers are where it rises."""
    at = steps(one.fronts)
    reached = np.nan_to_num(one.attained(at), nan=-np.inf)
    rises = reached > np.append(-np.inf, reached)[:-1]  # what is attained never falls
    x, y = at[rises], reached[rises]
    return go.Scatter(
        name=_name(one),
        mode="lines+markers",
        line={"shape": "hv", **_stroke(number)},
        marker={**_marker(number), "size": np.append(np.full(len(x), 8), 0)},
        x=np.append(x, end),
        y=np.append(y, y[-1:] if len(y) else np.nan),
        hovertemplate="%{y:.2%} within %{x:,} queries<extra>%{fullData.name}</extra>",
    )


def _band(one: Curve, number: int, end: float, bottom: float) -> list[go.Scatter]:
    """Between what 75 % and 25 % of the seeds attain; where fewer than 75 % do, it is open below."""
    at = np.append(steps(one.fronts), end)
    upper, lower = one.attained(at, UPPER), one.attained(at, LOWER)
    known = np.isfinite(upper)
    common = {"mode": "lines", "hoverinfo": "skip", "line": {"shape": "hv", "width": 0}, "x": at[known]}
    label = f"{plain(one.name)}: 25-75 % of {len(one.runs)} seeds"
    return [
        go.Scatter(name=f"{label}, upper edge", y=upper[known], showlegend=False, **common),
        go.Scatter(
            name=label,
            y=np.where(np.isfinite(lower), lower, bottom)[known],
            fill="tonexty",
            fillcolor=faint(number),
            **common,
        ),
    ]


def _seeds(one: Curve, number: int) -> go.Scatter:
    """Where each seed's own curve rises."""
    stairs = [staircase(front) for front in one.fronts]
    each = [(front.queries[at], front.score[at]) for front, at in zip(one.fronts, stairs, strict=True)]
    names = [run.name for run, (x, _) in zip(one.runs, each, strict=True) for _ in x]
    return go.Scatter(
        name=f"{plain(one.name)}: each seed",
        mode="markers",
        opacity=0.5,
        marker={"color": colour(number), "size": 5},
        x=np.concatenate([x for x, _ in each]),
        y=np.concatenate([y for _, y in each]),
        customdata=np.array([plain(name) for name in names], dtype=object),
        hovertemplate="%{customdata}<br>%{y:.2%} within %{x:,} queries<extra></extra>",
    )


def _stroke(number: int) -> dict[str, object]:
    return {"color": colour(number), "width": 2, "dash": dash(number)}


def _marker(number: int) -> dict[str, object]:
    return {"color": colour(number), "symbol": symbol(number), "size": 8}
