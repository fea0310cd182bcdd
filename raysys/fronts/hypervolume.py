"""Hypervolume of (accuracy or agreement on val, queries): one number for how good a front is.

Both axes are costs in [0, 1] below a reference point that is fixed when the run starts, queries after
log10: 0 is a perfect student for one query; 1 is chance accuracy, or the declared largest budget. So the
volume lies in [0, 1] and is comparable between runs with the same objectives, held-out images and reference.
"""

from dataclasses import dataclass

import moocore
import numpy as np
import numpy.typing as npt

from raysys.fronts.objectives import Floats


@dataclass(frozen=True)
class Reference:
    """The worst point that counts: chance `accuracy` in [0, 1), largest budget `queries` > 1."""

    accuracy: float
    queries: int

    def __post_init__(self) -> None:
        if not (0 <= self.accuracy < 1 and self.queries > 1):
            raise ValueError(f"needs 0 <= accuracy < 1 and queries > 1, but got {self}")


def scaled_costs(queries: npt.ArrayLike, accuracy: npt.ArrayLike, reference: Reference) -> Floats:
    """Costs (n, 2) of points: (1 - accuracy) and log10(queries), each 1 at the reference.

    `queries` (n,) in images, `accuracy` (n,) in [0, 1]; a point with a value that is not finite is NaN.
    """
    images = np.asarray(queries, dtype=np.float64)
    misses = (1 - np.asarray(accuracy, dtype=np.float64)) / (1 - reference.accuracy)
    spent = np.log10(np.maximum(images, 1)) / np.log10(reference.queries)
    costs = np.stack([misses, spent], axis=1)
    costs[~np.isfinite(costs).all(axis=1)] = np.nan
    return costs


def hypervolume(costs: Floats) -> float:
    """Volume in [0, 1] that scaled `costs` (n, 2) dominate below (1, 1); rows with NaN do not count."""
    finite = costs[np.isfinite(costs).all(axis=1)]
    return float(moocore.hypervolume(finite, ref=[1, 1])) if len(finite) else 0.0
