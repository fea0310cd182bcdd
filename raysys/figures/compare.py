"""Fronts, attainment and hypervolumes of searches side by side; colours of text and paper are the theme's."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from raysys.figures.axes import LOG_QUERIES
from raysys.figures.compare_tables import run_names, search_names
from raysys.figures.looks import GREY, colour, dash, empty_figure, faint, plain, symbol, text
from raysys.fronts.attainment import staircase, steps
from raysys.fronts.objectives import Floats
from raysys.store.comparison import EVIDENCE
from raysys.store.searches import Search


def fronts_figure(searches: Sequence[Search], score: str, template: str | None = None) -> go.Figure:
    """The final front of each run: the best score that a budget buys, as step lines; a colour a search.

    With a third objective the front has more points than these.
    """
    figure = _budget_figure(f"student's {text(score)}", template)
    names = iter(run_names([run for one in searches for run in one.runs]))
    drawn = count()
    for number, one in enumerate(searches):
        for front in one.fronts:
            stairs = staircase(front)
            shape = next(drawn)
            figure.add_scatter(
                name=f"{plain(next(names))} (search {number + 1})",
                x=front.queries[stairs],
                y=front.score[stairs],
                mode="lines+markers",
                line={"shape": "hv", "dash": dash(shape), "color": colour(number)},
                marker={"symbol": symbol(shape), "size": 8},
                hovertemplate="%{y:.2%}<br>%{x:,} queries<extra>%{fullData.name}</extra>",
            )
    return figure


def fronts_alt(searches: Sequence[Search], score: str) -> str:
    """What the figure shows, in words."""
    fronts = [front for one in searches for front in one.fronts]
    names = run_names([run for one in searches for run in one.runs])
    told = [
        f"{name} up to {front.score.max():.1%} at {front.queries[np.argmax(front.score)]:,.0f} queries"
        if len(front.members)
        else f"{name} has none"
        for name, front in zip(names, fronts, strict=True)
    ]
    return f"Final fronts of {len(fronts)} runs, {text(score)} over queries: {'; '.join(told)}."


def attainment_figure(searches: Sequence[Search], score: str, template: str | None = None) -> go.Figure:
    """For each search with at least 3 runs the score that half of them attain within a budget.

    The band is between what 75 % and 25 % of them attain: cuts through the empirical attainment function.
    """
    figure = _budget_figure(f"{text(score)} attained by half of the runs", template)
    end = max(float(front.queries[-1]) for one in searches for front in one.fronts if len(front.members))
    for number, (name, one) in enumerate(zip(search_names(searches), searches, strict=True)):
        if len(one.runs) < EVIDENCE:
            continue
        shown = f"{plain(name)} (n = {len(one.runs)})"
        budgets = np.append(steps(one.fronts), end)
        low, median, high = (one.reached_by(share, budgets) for share in (0.75, 0.5, 0.25))
        line = {"shape": "hv", "color": colour(number), "dash": dash(number)}
        band: dict[str, Any] = {"mode": "lines", "legendgroup": shown, "hoverinfo": "skip"}
        band["line"] = {**line, "width": 0}
        known = np.isfinite(low)  # where fewer than 75 % have a student, there is no lower edge
        figure.add_scatter(x=budgets[known], y=low[known], showlegend=False, name=f"{shown}: 75 %", **band)
        figure.add_scatter(
            name=f"{shown}: 25 to 75 %",
            x=budgets[known],
            y=high[known],
            fill="tonexty",
            fillcolor=faint(number),
            **band,
        )
        figure.add_scatter(
            name=f"{shown}: half",
            x=budgets,
            y=median,
            line=line,
            mode="lines",
            legendgroup=shown,
            hovertemplate="%{y:.2%}<br>within %{x:,} queries<extra>%{fullData.name}</extra>",
        )
    return figure


def attainment_alt(searches: Sequence[Search], score: str) -> str:
    """What the figure shows, in words."""
    names = zip(search_names(searches), searches, strict=True)
    told = "; ".join(
        f"search {name}, n = {len(one.runs)}" for name, one in names if len(one.runs) >= EVIDENCE
    )
    return (
        f"{text(score).capitalize()} that half of the runs attain within a budget, 25 to 75 % band: {told}."
    )


def difference_figure(searches: Sequence[Search], score: str, template: str | None = None) -> go.Figure:
    """What half of the runs of each other search attain within a budget, less what half of the first do.

    Only of searches with at least 3 runs, the first one included. Above 0 the other one is ahead.
    """
    names = search_names(searches)
    figure = _budget_figure(f"{text(score)}, above that of search 1", template)
    figure.update_yaxes(tickformat="+.0%", zeroline=True, zerolinecolor=GREY, zerolinewidth=2)
    for number, other in enumerate(searches[1:], start=1):
        if len(other.runs) < EVIDENCE:
            continue
        budgets, ahead = attained_difference(searches[0], other)
        figure.add_scatter(
            name=f"{plain(names[number])} less {plain(names[0])}",
            x=budgets,
            y=ahead,
            mode="lines",
            line={"shape": "hv", "color": colour(number), "dash": dash(number)},
            hovertemplate="%{y:+.2%}<br>within %{x:,} queries<extra>%{fullData.name}</extra>",
        )
    figure.add_annotation(text="above 0: ahead of search 1", **_CORNER, y=1, yanchor="top")
    figure.add_annotation(text="below 0: search 1 is ahead", **_CORNER, y=0, yanchor="bottom")
    return figure


def attained_difference(first: Search, other: Search) -> tuple[Floats, Floats]:
    """Budgets (n,) and by how much the score that half of the other's runs attain is above the first's (n,).

    NaN where half of the runs of either have no student so cheap.
    """
    budgets = steps([*first.fronts, *other.fronts])
    return budgets, other.reached_by(0.5, budgets) - first.reached_by(0.5, budgets)


def ahead_text(first: Search, other: Search, name: str) -> str:
    """Where which of two searches is ahead, in words."""
    budgets, above = attained_difference(first, other)
    known = np.isfinite(above)
    if not known.any():
        return f"{name}: at no budget half of the runs of both have a student."
    parts = {"ahead of": above > 0, "level with": above == 0, "behind": above < 0}
    told = [
        f"{word} search 1 {_spans(budgets[known], where[known])}"
        for word, where in parts.items()
        if where.any()
    ]
    return f"{name}: {'; '.join(told)}."


def hypervolume_figure(searches: Sequence[Search], template: str | None = None) -> go.Figure:
    """The hypervolume of each run's final front as a point, by search; a box where a search has 3 runs."""
    figure = empty_figure(template)
    names = search_names(searches)
    for number, (name, one) in enumerate(zip(names, searches, strict=True)):
        volumes = np.array([front.hypervolume for front in one.fronts])
        enough = len(volumes) >= EVIDENCE
        seeds = [f"seed {seed}" for seed in one.seeds]
        figure.add_box(
            name=plain(name),
            x=volumes,
            y=np.full(len(volumes), number),
            orientation="h",
            boxpoints="all",
            pointpos=0,
            jitter=0.3,
            marker={"color": colour(number), "symbol": symbol(number), "size": 8},
            line={"width": 1 if enough else 0},
            fillcolor=None if enough else "rgba(0,0,0,0)",
            text=seeds,
            hoveron="points",
            hovertemplate="%{text}<br>hypervolume %{x:.4f}<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(
        xaxis={"title": "hypervolume of the final front (in [0, 1], more is better)"},
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": [plain(name) for name in names],
            "autorange": "reversed",
            "automargin": True,
        },
        height=140 + 70 * len(names),
        showlegend=False,
        margin={"l": 20, "r": 20, "t": 20, "b": 60},
    )
    return figure


def hypervolume_alt(searches: Sequence[Search]) -> str:
    """What the figure shows, in words."""
    told = []
    for name, one in zip(search_names(searches), searches, strict=True):
        volumes = ", ".join(f"{front.hypervolume:.4f}" for front in one.fronts)
        told.append(f"search {name}, n = {len(one.runs)}: {volumes}")
    return f"Hypervolumes of the final fronts, a point a run. {'; '.join(told)}."


_MOST_SPANS = 3
"""Of more stretches of budgets the number is told, and the ends."""

_CORNER = {"xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "showarrow": False}


def _budget_figure(title: str, template: str | None) -> go.Figure:
    figure = empty_figure(template)
    figure.update_layout(
        xaxis={**LOG_QUERIES, "title": "teacher queries (images)"},
        yaxis={"title": title, "tickformat": ".0%"},
        showlegend=True,
    )
    return figure


def _spans(budgets: Floats, where: npt.NDArray[np.bool_]) -> str:
    """The stretches of budgets at which something holds, in words."""
    edges = np.flatnonzero(np.diff(where.astype(int), prepend=0, append=0))
    ends = [f"to {budgets[stop]:,.0f}" if stop < len(budgets) else "on" for stop in edges[1::2]]
    if len(ends) > _MOST_SPANS:
        return f"on {len(ends)} stretches from {budgets[edges[0]]:,.0f} {ends[-1]} queries"
    spans = zip(budgets[edges[::2]], ends, strict=True)
    return " and ".join(f"from {start:,.0f} {end}" for start, end in spans) + " queries"
