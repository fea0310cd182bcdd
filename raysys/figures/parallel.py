"""Parallel coordinates: which combinations of parameters the good trials have."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from raysys.figures.looks import empty_figure, plain, text
from raysys.fronts.objectives import TESTED, Floats
from raysys.fronts.points import Ints
from raysys.space.advice import grid_values
from raysys.space.schema import Categorical, Parameter
from raysys.store.parameters import Searched, ends, short

_TICKS = 6


def parallel_figure(
    run: Searched, names: Sequence[str], rows: Ints, template: str | None = None
) -> go.Figure:
    """A line a trial over the axes of parameters and objectives, coloured by the score.

    A parameter that a condition leaves out of a trial is below its axis' own values.
    """
    figure = empty_figure(template)
    axes = [_axis(name, run.parameters[name], run.values[name][rows]) for name in names]
    for objective, reached in run.reached.items():
        log = objective == "queries"
        values = np.log10(np.maximum(reached[rows], 1)) if log else reached[rows]
        axes.append({"label": text(objective), "values": values, **_objective_ticks(objective, values)})
    figure.add_parcoords(
        dimensions=axes,
        line={
            "color": run.reached[run.score][rows],
            "colorscale": "Cividis",
            "showscale": True,
            "colorbar": {"title": text(run.score), "tickformat": ".0%"},
        },
        labelangle=-20,
        labelside="top",
    )
    return figure.update_layout(margin={"l": 70, "r": 20, "t": 90, "b": 30}, height=420)


def _axis(name: str, parameter: Parameter, values: Floats) -> dict[str, Any]:
    """One axis of parallel coordinates."""
    log = not isinstance(parameter, Categorical) and parameter.log
    values = np.log10(values) if log else values.copy()
    low, high = ends(parameter)
    if isinstance(parameter, Categorical):
        ticks, told = np.arange(high + 1), [str(choice) for choice in parameter.choices]  # drawn as they are
    else:
        count = int(min(_TICKS, math.inf if log else grid_values(parameter)))
        ticks = np.linspace(low, high, count)
        if parameter.type == "int" and not log:
            ticks = np.unique(ticks.round())
        told = [short(tick) for tick in (10**ticks if log else ticks)]
    absent = np.isnan(values)
    if absent.any():
        below = low - 0.15 * (high - low)
        values[absent] = below
        ticks, told, low = np.append(below, ticks), ["without", *told], below
    return {"label": plain(name), "values": values, "range": [low, high], "tickvals": ticks, "ticktext": told}


def _objective_ticks(objective: str, values: Floats) -> dict[str, Any]:
    if objective != "queries":
        return {"tickformat": ".0%" if objective in TESTED else ",.3~g"}
    ticks = np.linspace(values.min(initial=0), values.max(initial=1), _TICKS)
    return {"tickvals": ticks, "ticktext": [f"{10**tick:,.0f}" for tick in ticks]}
