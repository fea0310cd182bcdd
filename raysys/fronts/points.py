"""Points: trials that differ by their seed only are one, at the mean of what they reached."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raysys.fronts.goal import Goal
from raysys.fronts.objectives import Floats

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Points:
    """n points, each of one or more rows of some table.

    `of` (rows,): the point of each row. `first` (n,): the first row of each point. `seeds` (n,): how many
    rows a point has. `counts` (n,): whether it may be on a front at all.
    """

    of: Ints
    first: Ints
    seeds: Ints
    counts: Bools

    def rows(self, point: int) -> Ints:
        """The rows of a point."""
        return np.flatnonzero(self.of == point)

    def part(self, at: Ints) -> tuple[Ints, "Points"]:
        """Some of the points `at` (k,), each once, in that order; and the rows that they are of."""
        places = np.full(len(self.first), -1)
        places[at] = np.arange(len(at))
        of = places[self.of]
        rows = np.flatnonzero(of >= 0)
        return rows, numbered(of[rows], self.counts[self.of[rows]])

    def mean(self, column: npt.ArrayLike) -> Floats:
        """Means (n,) of a column (rows,); NaN where a row of the point has no finite value."""
        values = np.array(column, dtype=np.float64)  # None becomes NaN
        values[~np.isfinite(values)] = np.nan
        return np.asarray(np.bincount(self.of, weights=values, minlength=len(self.first)) / self.seeds)

    def std(self, column: npt.ArrayLike) -> Floats:
        """Sample standard deviations (n,) of a column (rows,); NaN for one row, and as in `mean`."""
        means = self.mean(column)
        off = np.array(column, dtype=np.float64) - means[self.of]
        squares = np.bincount(self.of, weights=off**2, minlength=len(self.first))
        spread = np.full(len(means), np.nan)
        np.divide(squares, self.seeds - 1, out=spread, where=self.seeds > 1)
        return np.asarray(np.sqrt(spread))

    def values(self, goal: Goal, columns: Mapping[str, npt.ArrayLike]) -> Floats:
        """Means (n, m) of the objectives' columns, by name; NaN rows for points that do not count."""
        values = np.stack([self.mean(columns[name]) for name in goal.names], axis=1)
        values[~self.counts] = np.nan
        return values


def pooled(keys: Iterable[Hashable], counts: npt.ArrayLike) -> Points:
    """Points of rows: those that count (rows,) and have the same key are one, others each their own."""
    good = np.asarray(counts, dtype=np.bool_)
    known: dict[Hashable, int] = {}
    codes = [
        known.setdefault(key if counted else ("row", row), len(known))
        for row, (key, counted) in enumerate(zip(keys, good, strict=True))
    ]
    return numbered(np.array(codes, dtype=np.int64), good)


def numbered(of: Ints, counts: Bools) -> Points:
    """Points whose number is known for each row (rows,): 0, 1, ..., each with at least one row."""
    _, first, seeds = np.unique(of, return_index=True, return_counts=True)
    return Points(of, first, seeds, counts[first])
