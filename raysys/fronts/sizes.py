"""How many points the front of a search had, with each trial that ended."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from raysys.fronts.goal import Goal
from raysys.fronts.pareto import nondominated
from raysys.fronts.points import Ints, Points


def front_sizes(points: Points, columns: Mapping[str, npt.ArrayLike], goal: Goal) -> Ints:
    """Sizes (rows,) of the front after each row, by all objectives; ties count each.

    Rows are in the order in which they ended; `columns` (rows,) has each objective by name. A further seed
    moves its point's mean, so that points may leave the front or come back.
    """
    rows = np.stack([np.array(columns[name], dtype=np.float64) for name in goal.names], axis=1)
    alone = goal.costs(rows)
    sums, seen = np.zeros((len(points.first), rows.shape[1])), np.zeros(len(points.first))
    costs = np.full((len(points.first), rows.shape[1]), np.nan)
    front = np.empty(0, dtype=np.int64)
    sizes = []
    for row, point in enumerate(points.of):
        if points.counts[point]:
            seen[point] += 1
            sums[point] += rows[row]
            new = alone[row] if seen[point] == 1 else goal.costs(sums[[point]] / seen[point])[0]
            costs[point] = new
            if point in front:  # it moves away: any point may come back
                front = np.flatnonzero(nondominated(costs))
            elif not np.isnan(new).any():
                others = costs[front]
                no_worse = (others <= new).all(axis=1)
                if not (no_worse & (others < new).any(axis=1)).any():
                    beaten = (new <= others).all(axis=1) & (new < others).any(axis=1)
                    front = np.append(front[~beaten], point)
        sizes.append(len(front))
    return np.array(sizes, dtype=np.int64)
