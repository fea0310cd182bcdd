"""Which parameters decide, and where in their ranges the good trials lie."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from raysys.figures.looks import BLUE, GREEN, GREY, ORANGE, bar, empty_figure, plain, text
from raysys.fronts.objectives import TESTED, Floats
from raysys.fronts.points import Ints
from raysys.space.schema import Categorical, Parameter
from raysys.store.parameters import Searched

MOST_DRAWN = 1000
"""Of more trials the whole front and a sample is drawn."""

MOST_BARS = 12
"""Parameters whose importance is drawn."""

_BARS = ((BLUE, ""), (ORANGE, "/"), (GREEN, "x"))


def importance_figure(found: Mapping[str, Any], template: str | None = None) -> go.Figure:
    """Shares of importance, a group of bars a parameter, a bar an objective (`importance_json`).

    Of many parameters those are shown that are the most important for any objective.
    """
    rows = _most_important(found)[::-1]
    figure = empty_figure(template)
    for (name, one), (colour, hatch) in reversed([*zip(found["objectives"].items(), _BARS, strict=False)]):
        if not one["why"]:
            figure.add_bar(
                name=f"{text(name)} (n = {one['trials']:,})",
                orientation="h",
                y=[plain(row["name"]) for row in rows],
                x=np.array([row["importance"][name] for row in rows], dtype=np.float64),
                marker=bar(colour, hatch),
                hovertemplate="%{x:.1%} of what decides %{fullData.name}<extra>%{y}</extra>",
            )
    return figure.update_layout(
        barmode="group",
        xaxis={"title": "importance (share)", "tickformat": ".0%", "rangemode": "tozero"},
        yaxis={"automargin": True, "dtick": 1},
        height=120 + 26 * len(rows),
        legend_traceorder="reversed",
        margin={"l": 20, "r": 20, "t": 40, "b": 60},
        showlegend=True,
    )


def importance_alt(found: Mapping[str, Any]) -> str:
    """What the figure shows, in words."""
    told = []
    for name, one in found["objectives"].items():
        shares = {row["name"]: row["importance"][name] or 0 for row in found["parameters"]}
        most = max(shares, key=lambda key: shares[key], default="none")
        told.append(one["why"] or f"for {text(name)} most by {most} ({shares.get(most, 0):.0%})")
    shown = f"{len(_most_important(found))} of {len(found['parameters'])} parameters"
    return f"Importance, showing {shown}: {'; '.join(told)}."


def _most_important(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = found["parameters"]
    most = [max(share or 0 for share in row["importance"].values()) for row in rows]
    least = sorted(most, reverse=True)[:MOST_BARS][-1]
    return [row for row, share in zip(rows, most, strict=True) if share >= least]


def drawn(run: Searched) -> Ints:
    """Rows that are drawn: all trials of the front, and a sample of the others, even by their score."""
    front, others = np.flatnonzero(run.front), np.flatnonzero(~run.front)
    others = others[np.argsort(run.reached[run.score][others], kind="stable")]
    room = min(len(others), max(0, MOST_DRAWN - len(front)))
    return np.concatenate([others[np.linspace(0, len(others) - 1, room).astype(np.int64)], front])


def slice_figure(
    run: Searched, name: str, objective: str, rows: Ints, template: str | None = None
) -> go.Figure:
    """One objective over one parameter, on the scale that it is drawn on; trials of the front stand out.

    `rows` are those drawn; where a condition leaves the parameter out there is no point.
    """
    parameter, values = run.parameters[name], run.values[name]
    rows = rows[~np.isnan(values[rows])]
    figure = empty_figure(template)
    for label, mask, marker in (
        ("other finished trials", ~run.front, {"color": GREY, "size": 7, "opacity": 0.5}),
        ("on the front", run.front, {"color": BLUE, "size": 10, "symbol": "diamond"}),
    ):
        part = rows[mask[rows]]
        figure.add_scatter(
            name=label,
            mode="markers",
            x=values[part] + _aside(parameter, part),
            y=run.reached[objective][part],
            customdata=np.array([run.uids[part], _texts(parameter, values[part])], dtype=object).T,
            marker=marker,
            hovertemplate="%{customdata[0]}<br>%{y}<br>%{xaxis.title.text} %{customdata[1]}<extra></extra>",
        )
    figure.update_layout(
        xaxis={"title": plain(name), **_scale(parameter)},
        yaxis=_objective_axis(objective),
        showlegend=True,
    )
    return figure


def slice_alt(run: Searched, name: str, objective: str, rows: Ints) -> str:
    """What the figure shows, in words."""
    here = rows[~np.isnan(run.values[name][rows])]
    total = int((~np.isnan(run.values[name])).sum())
    return (
        f"{text(objective).capitalize()} over {name}: {len(here):,} of {total:,} finished trials that have"
        f" it, {int(run.front[here].sum())} of them on the front."
    )


def _objective_axis(objective: str) -> dict[str, Any]:
    if objective == "queries":
        return {"title": "queries", "type": "log", "dtick": "D2", "minorloglabels": "complete"}
    return {"title": text(objective), "tickformat": ".0%" if objective in TESTED else "~s"}


def _scale(parameter: Parameter) -> dict[str, Any]:
    """An axis on the scale that a parameter is drawn on."""
    if isinstance(parameter, Categorical):
        choices = [plain(str(choice)) for choice in parameter.choices]
        return {
            "tickvals": np.arange(len(choices)),
            "ticktext": choices,
            "range": [-0.5, len(choices) - 0.5],
        }
    log = {"type": "log", "minorloglabels": "complete", "dtick": "D2"} if parameter.log else {}
    return {"tickformat": "~g", **log}


def _texts(parameter: Parameter, values: Floats) -> list[str]:
    """Values of a parameter in words."""
    if isinstance(parameter, Categorical):
        return [plain(str(parameter.choices[int(value)])) for value in values]
    return [f"{value:.4g}" for value in values]


def _aside(parameter: Parameter, rows: Ints) -> Floats:
    """How far points are drawn beside their choice, so that they do not hide each other."""
    if isinstance(parameter, Categorical):
        return np.asarray(0.5 * (rows * 0.618034 % 1) - 0.25)
    return np.zeros(len(rows))
