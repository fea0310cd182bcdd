"""Pareto maths on costs: smaller is better in every column, a row with NaN is never on a front."""

import moocore
import numpy as np
import numpy.typing as npt

from raysys.fronts.objectives import Floats


def nondominated(costs: Floats) -> npt.NDArray[np.bool_]:
    """Mark the rows of `costs` (n, m) that no other row dominates: bool (n,).

    A row dominates another when it is nowhere larger and somewhere smaller; equal rows are all kept.
    """
    front = np.zeros(len(costs), dtype=np.bool_)
    finite = np.flatnonzero(np.isfinite(costs).all(axis=1))
    if len(finite):
        front[finite] = moocore.is_nondominated(costs[finite], keep_weakly=True)
    return front


def beaten(costs: Floats, by: Floats) -> npt.NDArray[np.bool_]:
    """Mark the rows of `costs` (n, m) that a row of `by` (k, m) dominates: bool (n,)."""
    each = costs[:, np.newaxis]
    dominated = np.all(by <= each, axis=2) & np.any(by < each, axis=2)
    return np.asarray(np.any(dominated, axis=1))


def knee(costs: Floats) -> int | None:
    """Row of the knee of a 2-D front `costs` (n, 2), or None when no point bulges towards the ideal.

    Each axis is scaled to [0, 1] between the front's extremes; the knee lies farthest (perpendicular) from
    the chord between them, on the ideal's side (Das 1999, "On characterizing the knee of the Pareto
    curve"). It needs at least 3 different points; of equal ones the first is taken.
    """
    if len(np.unique(costs, axis=0)) < 3:
        return None
    low, high = costs.min(axis=0), costs.max(axis=0)
    scaled = (costs - low) / (high - low)
    towards_ideal = 1 - scaled.sum(axis=1)  # the chord joins (0, 1) and (1, 0)
    best = int(towards_ideal.argmax())
    return best if towards_ideal[best] > 1e-12 else None


def layers(costs: Floats) -> npt.NDArray[np.int64]:
    """Which front each row of `costs` (n, m) is on, once those before it are taken away: int64 (n,).

    0 is the front itself; rows with NaN come after all others (Goldberg 1989, non-dominated sorting).
    """
    layer = np.full(len(costs), len(costs), dtype=np.int64)
    finite = np.flatnonzero(np.isfinite(costs).all(axis=1))
    if len(finite):
        layer[finite] = moocore.pareto_rank(costs[finite])
    return layer
