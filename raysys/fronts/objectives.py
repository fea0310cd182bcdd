"""Objectives and the door through which their values enter: below it, smaller is better everywhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
"""float64 array; NaN where a value does not exist."""


@dataclass(frozen=True)
class Objective:
    """What is optimised. `name` is a column of the trials table; `log`: differences are ratios."""

    name: str
    direction: Literal["maximize", "minimize"]
    log: bool = False


ACCURACY = Objective("val_accuracy", "maximize")
AGREEMENT = Objective("agreement", "maximize")
QUERIES = Objective("queries", "minimize", log=True)
SECONDS = Objective("seconds", "minimize")

TESTED = {ACCURACY.name: "test_accuracy", AGREEMENT.name: "test_agreement"}
"""What may rank students, a column on val in [0, 1] -> the same on test."""


def score(names: Iterable[str]) -> str:
    """The one of the objectives' names that ranks students: a key of `TESTED`."""
    return next(name for name in names if name in TESTED)


def to_minimise(values: npt.ArrayLike, objectives: Sequence[Objective]) -> Floats:
    """Turn values (n, m) into costs (n, m): maximised columns negated, `log` columns as log10 of max(1, x).

    A row with a value that is not finite becomes NaN as a whole: it cannot be compared.
    Raises ValueError when there is not one column per objective.
    """
    costs = np.array(values, dtype=np.float64)
    if costs.ndim != 2 or costs.shape[1] != len(objectives):
        raise ValueError(f"values must be (n, {len(objectives)}), but got shape {costs.shape}")
    costs[~np.isfinite(costs).all(axis=1)] = np.nan
    for column, objective in enumerate(objectives):
        if objective.log:
            costs[:, column] = np.log10(np.maximum(costs[:, column], 1))
        if objective.direction == "maximize":
            costs[:, column] *= -1
    return costs
