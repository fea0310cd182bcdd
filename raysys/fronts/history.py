"""How the front of a search grew with what was paid for it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raysys.fronts.goal import Goal
from raysys.fronts.hypervolume import hypervolume
from raysys.fronts.objectives import QUERIES, Floats
from raysys.fronts.pareto import nondominated
from raysys.fronts.points import Points


@dataclass(frozen=True)
class History:
    """After each trial that ended (n,): the queries of all trials up to it, and the hypervolume then."""

    queries: Floats
    hypervolume: Floats

    def queries_to_reach(self, level: float) -> float | None:
        """Queries after which the hypervolume was first at `level` or above; None if it never was."""
        reached = np.flatnonzero(self.hypervolume >= level)
        return float(self.queries[reached[0]]) if len(reached) else None


def front_history(points: Points, columns: Mapping[str, npt.ArrayLike], goal: Goal) -> History:
    """The history of rows in the order in which they ended, whether or not they count on a front.

    `columns` (rows,) has each objective by name. A further seed moves its point's mean: then the hypervolume
    may fall, as the front does.
    """
    rows = np.stack([np.array(columns[name], dtype=np.float64) for name in goal.names], axis=1)
    rows[~np.isfinite(rows)] = np.nan
    alone = goal.scaled(rows)
    sums, seen = np.zeros((len(points.first), rows.shape[1])), np.zeros(len(points.first))
    costs = np.full((len(points.first), 2), np.nan)
    edge = np.empty(0, dtype=np.int64)  # the points on the front so far
    volume, volumes = 0.0, []
    for row, point in enumerate(points.of):
        if points.counts[point]:
            seen[point] += 1
            sums[point] += rows[row]
            new = alone[row] if seen[point] == 1 else goal.scaled(sums[[point]] / seen[point])[0]
            costs[point] = new
            if point in edge:  # it moves: any point may come back
                edge = np.flatnonzero(nondominated(costs))
                volume = hypervolume(costs[edge])
            elif not (costs[edge] <= new).all(axis=1).any():
                edge = np.append(edge, point)
                edge = edge[nondominated(costs[edge])]
                volume = hypervolume(costs[edge])
        volumes.append(volume)
    spent = np.nancumsum(np.array(columns[QUERIES.name], dtype=np.float64))
    return History(spent, np.array(volumes, dtype=np.float64))
