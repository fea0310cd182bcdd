"""How many points the front of a search had, with each trial that ended."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from raysys.fronts.goal import Goal
from raysys.fronts.history import running_means
from raysys.fronts.pareto import nondominated
from raysys.fronts.points import Ints, Points


def front_sizes(points: Points, columns: Mapping[str, npt.ArrayLike], goal: Goal) -> Ints:
    """Sizes (rows,) of the front after each row, by all objectives; ties count each.

    Rows are in the order in which they ended; `columns` (rows,) has each objective by name. A further seed
    moves its point's mean, so that points may leave the front or come back.
    """
    rows = np.stack([np.array(columns[name], dtype=np.float64) for name in goal.names], axis=1)
    moves = goal.costs(running_means(points.of, rows))
    costs = np.full((len(points.first), rows.shape[1]), np.nan)
    front, sizes = np.empty(0, dtype=np.int64), []
    for new, point in zip(moves, points.of, strict=True):
        if points.counts[point]:
            candidates = np.append(front, point)
            if point in front:  # what it alone kept off the front may come back
                candidates = np.union1d(front, np.flatnonzero((costs >= costs[point]).all(axis=1)))
            costs[point] = new
            if point in front or not (costs[front] < new).all(axis=1).any():
                front = candidates[nondominated(costs[candidates])]
        sizes.append(len(front))
    return np.array(sizes, dtype=np.int64)
