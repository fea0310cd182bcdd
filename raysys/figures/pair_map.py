"""Two parameters at once: the median score in each cell of their ranges."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from raysys.figures.looks import empty_figure, plain, text
from raysys.fronts.objectives import Floats
from raysys.fronts.points import Ints
from raysys.space.advice import grid_values
from raysys.space.schema import Categorical, Parameter
from raysys.store.parameters import Searched, ends, short

MOST_CELLS = 40
"""Cells along each side."""

_TICKS = 6


def map_figure(run: Searched, across: str, up: str, template: str | None = None) -> go.Figure:
    """The median score in each cell of two parameters' ranges; a cell without trials is empty."""
    median, counts = cells(run, across, up)
    figure = empty_figure(template)
    (x, x_ticks), (y, y_ticks) = (
        _cell_axis(run.parameters[name], size)
        for name, size in ((across, counts.shape[1]), (up, counts.shape[0]))
    )
    figure.add_heatmap(
        z=median,
        customdata=np.stack(
            [counts, np.broadcast_to(x, counts.shape), np.broadcast_to(y[:, np.newaxis], counts.shape)],
            axis=2,
        ),
        hoverongaps=False,
        colorscale="Cividis",
        colorbar={"title": text(run.score), "tickformat": ".0%"},
        xgap=1,
        ygap=1,
        hovertemplate="median %{z:.2%} of %{customdata[0]} trials<br>"
        "%{xaxis.title.text} %{customdata[1]}<br>%{yaxis.title.text} %{customdata[2]}<extra></extra>",
    )
    return figure.update_layout(
        xaxis={"title": plain(across), "range": [-0.5, counts.shape[1] - 0.5], **x_ticks},
        yaxis={"title": plain(up), "range": [-0.5, counts.shape[0] - 0.5], "automargin": True, **y_ticks},
        margin={"l": 70, "r": 20, "t": 20, "b": 60},
    )


def map_alt(run: Searched, across: str, up: str) -> str:
    """What the figure shows, in words; at least one trial must have both parameters."""
    median, counts = cells(run, across, up)
    best = np.unravel_index(np.nanargmax(median), median.shape)
    return (
        f"Median {text(run.score)} of {counts.sum():,} finished trials with {across} and {up} in "
        f"{(counts > 0).sum()} of {counts.size} cells, the best {median[best]:.1%} (n = {counts[best]})."
    )


def cells(run: Searched, across: str, up: str) -> tuple[Floats, Ints]:
    """Median score (rows, columns), NaN in empty cells, and counts; `up` along the rows."""
    both = ~np.isnan(run.values[across]) & ~np.isnan(run.values[up])
    columns, width = _cells(run.parameters[across], run.values[across][both])
    rows, height = _cells(run.parameters[up], run.values[up][both])
    at = rows * width + columns
    order = np.lexsort((run.reached[run.score][both], at))
    places, first, counts = np.unique(at[order], return_index=True, return_counts=True)
    scores = run.reached[run.score][both][order]
    median = np.full(width * height, np.nan)
    median[places] = (scores[first + (counts - 1) // 2] + scores[first + counts // 2]) / 2
    count = np.bincount(at, minlength=width * height)
    return median.reshape(height, width), count.reshape(height, width)


def _cells(parameter: Parameter, values: Floats) -> tuple[Ints, int]:
    """The cell of each value, and how many cells there are: few where there are few trials."""
    if isinstance(parameter, Categorical):
        return values.astype(np.int64), len(parameter.choices)
    count = int(np.clip(np.sqrt(len(values)) / 2, 5, MOST_CELLS))
    low, high = ends(parameter)
    if (grid := grid_values(parameter)) <= 2 * count and grid <= MOST_CELLS and not parameter.log:
        return np.rint((values - low) / (high - low) * (grid - 1)).astype(np.int64), int(grid)
    shares = ((np.log10(values) if parameter.log else values) - low) / (high - low)
    return np.clip((shares * count).astype(np.int64), 0, count - 1), count


def _cell_axis(parameter: Parameter, count: int) -> tuple[npt.NDArray[np.object_], dict[str, Any]]:
    """What each cell holds, in words, and the axis' ticks: below the cells of choices, or between cells."""
    if isinstance(parameter, Categorical):
        told = [plain(str(choice)) for choice in parameter.choices]
        return np.array(told, dtype=object), {"tickvals": np.arange(count), "ticktext": told}
    if count == grid_values(parameter) and not parameter.log:
        told = [short(value) for value in np.linspace(*ends(parameter), count)]
        at = _some(count) if count > 2 * _TICKS else np.arange(count)
        return np.array(told, dtype=object), {"tickvals": at, "ticktext": [told[cell] for cell in at]}
    edges = np.linspace(*ends(parameter), count + 1)
    told = [short(edge) for edge in (10**edges if parameter.log else edges)]
    at = _some(count + 1)
    names = [f"{low} to {high}" for low, high in pairwise(told)]
    return np.array(names, dtype=object), {"tickvals": at - 0.5, "ticktext": [told[edge] for edge in at]}


def _some(count: int) -> Ints:
    """Where to put ticks among so many places."""
    return np.unique(np.linspace(0, count - 1, min(count, _TICKS)).round().astype(np.int64))
