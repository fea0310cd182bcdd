"""How the front of a search grew with what was paid for it."""

import math
from bisect import bisect_right
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
    moves = goal.scaled(running_means(points.of, rows)).tolist()
    costs = np.full((len(points.first), 2), np.nan)
    edge = _Edge(costs)
    volume, volumes = 0.0, []
    for point, counted, new in zip(points.of.tolist(), points.counts[points.of].tolist(), moves, strict=True):
        if counted and edge.move(point, *new):
            volume = hypervolume(costs[edge.points])
        volumes.append(volume)
    spent = np.nancumsum(np.array(columns[QUERIES.name], dtype=np.float64))
    return History(spent, np.array(volumes, dtype=np.float64))


class _Edge:
    """The front among points whose `costs` (n, 2) change one by one; NaN: a point is not there yet.

    `points` are on it, by rising first and falling second cost.
    """

    def __init__(self, costs: Floats) -> None:
        self._costs = costs
        self._first: list[float] = []
        self._second: list[float] = []
        self.points: list[int] = []

    def move(self, point: int, first: float, second: float) -> bool:
        """Put a point at these costs; True when the front may be another."""
        if point in self.points:  # what it alone kept off the front comes back
            behind = np.flatnonzero((self._costs >= self._costs[point]).all(axis=1))
            self._costs[point] = first, second
            self._set(np.union1d(self.points, behind))
            return True
        self._costs[point] = first, second
        before = bisect_right(self._first, first)
        if math.isnan(first) or (before and self._second[before - 1] <= second):
            return False
        self._set(np.append(np.array(self.points, dtype=np.int64), point))
        return True

    def _set(self, candidates: npt.NDArray[np.int64]) -> None:
        front = candidates[nondominated(self._costs[candidates])]
        first, second = self._costs[front].T
        order = np.lexsort((second, first))
        self.points = front[order].tolist()
        self._first, self._second = first[order].tolist(), second[order].tolist()


def running_means(of: npt.NDArray[np.int64], rows: Floats) -> Floats:
    """For each row (rows, m), the mean of its point's rows up to it, added in their order."""
    order = np.argsort(of, kind="stable")
    starts = np.r_[True, np.diff(of[order]) > 0]
    number = np.empty(len(of), dtype=np.int64)  # of a row among those of its point
    number[order] = np.arange(len(of)) - np.flatnonzero(starts)[np.cumsum(starts) - 1]
    sums, totals = np.zeros((of.max(initial=-1) + 1, rows.shape[1])), np.empty_like(rows)
    for turn in range(number.max(initial=-1) + 1):
        at = np.flatnonzero(number == turn)
        sums[of[at]] += rows[at]
        totals[at] = sums[of[at]]
    return totals / (number + 1)[:, np.newaxis]
