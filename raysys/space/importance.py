"""Which parameters decide whether a trial is among the best: PED-ANOVA, in a space with conditions.

Optuna's own takes 15 s for 10,000 trials of 25 parameters, most of it to hash distributions; what it makes of
them are counts on a grid, from which this goes. A test holds both against each other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from raysys.space.schema import Categorical, Parameter

LEAST_TRIALS = 10
"""With fewer finished trials nothing is said of importance."""

LEAST_BEST = 5
"""The best trials are a tenth of all, but at least so many, as Optuna advises."""

_CELLS = 50
"""The finest grid on which the values of a range are counted."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Importance:
    """How much each parameter decides whether a trial is among the `best` of `trials`: shares of 1.

    Where nothing can be said, `shares` is empty and `why` tells.
    """

    trials: int
    best: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    why: str = ""


def importance(
    parameters: Mapping[str, Parameter], values: Mapping[str, Floats], costs: Floats
) -> Importance:
    """Importance for what each trial costs (n,): finite, less is better.

    `values` of each parameter are (n,): numbers, or positions among the choices; NaN where a condition leaves
    the parameter out. PED-ANOVA (arXiv 2304.10255) compares the values in the best trials with those in all;
    ties with the last of the best are among the best. Where a parameter is left out of some trials, the
    others are compared, and that counts a**2 / b times, for their shares a of the best and b of all trials
    (conditional PED-ANOVA, arXiv 2601.20800). A parameter that no trial had has no share.
    """
    count = len(costs)
    if count < LEAST_TRIALS:
        return Importance(count, why=f"needs {LEAST_TRIALS} finished trials, there are {count}")
    quantile = max(0.1, (LEAST_BEST - 0.5) / count)  # rounded up to a whole number of trials
    best = costs <= np.sort(costs)[math.ceil(quantile * count) - 1]
    if best.all():
        return Importance(count, why="no finished trial is worse than the best ones")
    found = {
        name: _importance(parameter, values[name], best)
        for name, parameter in parameters.items()
        if not np.isnan(values[name]).all()
    }
    total = sum(found.values())
    shares = {name: one / total if total else 1 / len(found) for name, one in found.items()}
    return Importance(count, int(best.sum()), shares)


def _importance(parameter: Parameter, values: Floats, best: npt.NDArray[np.bool_]) -> float:
    """The Pearson divergence of the values in the best trials from those in all that have the parameter."""
    active = ~np.isnan(values)
    if active.sum() < 2 or not (active & best).any() or len(parameter.probes()) < 2:
        return 0.0
    everywhere, at_best = (_density(parameter, values[rows]) for rows in (active, active & best))
    divergence = everywhere @ (at_best / everywhere - 1) ** 2
    share_of_best = (active & best).sum() / best.sum()
    return float(share_of_best**2 / active.mean() * divergence)


def _density(parameter: Parameter, values: Floats) -> Floats:
    """Probabilities on the parameter's choices, or on a grid of its range, smoothed; none is 0."""
    if isinstance(parameter, Categorical):
        return _of_choices(np.bincount(values.astype(np.int64), minlength=len(parameter.choices))) + 1e-12
    low, high = parameter.low, parameter.high
    cells = _CELLS
    if parameter.type == "int" and parameter.log:
        cells = min(cells, math.ceil(math.log2(high - low + 1)) + 1)
    elif parameter.step is not None:
        cells = min(cells, round((high - low) / parameter.step) + 1)
    if parameter.log:
        low, high, values = math.log(low), math.log(high), np.log(values)
    nearest = np.ceil((values - low) / (high - low) * (cells - 1) - 0.5)
    at = np.clip(nearest, 0, cells - 1).astype(np.int64)
    return _of_range(np.bincount(at, minlength=cells)) + 1e-12


def _of_choices(counts: Counts) -> Floats:
    """A kernel for each choice that was seen, and a uniform one that counts as one trial."""
    choices, kernels = len(counts), np.count_nonzero(counts) + 1
    spread = 1 / (kernels + choices)  # of a kernel, to each choice
    seen = counts * (1 - choices * spread) + counts.sum() * spread
    return np.asarray((seen + 1 / choices) / (counts.sum() + 1))


def _of_range(counts: Counts) -> Floats:
    """Normal kernels on the grid, cut off at its ends, as wide as Scott's rule says; and a wide one."""
    cells, total = len(counts), int(counts.sum())
    at = np.flatnonzero(counts)
    weights = counts[at]
    upto = np.cumsum(weights)
    mean = at @ weights / total
    deviation = math.sqrt((at - mean) ** 2 @ weights / max(1, total - 1))
    first = at[np.searchsorted(upto, total // 4)]
    third = at[min(len(at) - 1, int(np.searchsorted(upto, total * 3 // 4, side="right")))]
    width = max(1.059 * min((third - first) / 1.34, deviation) * total**-0.2, 0.5 / 1.64)
    centres = np.append(at, (cells - 1) / 2)
    widths = np.append(np.full(len(at), width), cells)
    below = _normal((np.arange(cells + 1)[:, np.newaxis] - 0.5 - centres) / widths)
    masses = np.diff(below, axis=0) / (below[-1] - below[0])
    return np.asarray(masses @ np.append(weights, 1) / (total + 1))


def _normal(deviations: Floats) -> Floats:
    """The distribution function of the standard normal distribution."""
    return np.asarray(0.5 + 0.5 * np.vectorize(math.erf)(deviations / math.sqrt(2)))
