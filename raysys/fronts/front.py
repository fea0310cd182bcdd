"""The Pareto front of a run: the one place that decides which points are on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from raysys.fronts.goal import Goal
from raysys.fronts.hypervolume import hypervolume
from raysys.fronts.objectives import QUERIES, Floats
from raysys.fronts.pareto import beaten, knee, nondominated
from raysys.fronts.points import Ints, Points, pooled
from raysys.records import TrialRecord, TrialStatus


@dataclass(frozen=True)
class Front:
    """The front among `points`: they are `members` (k,), by rising queries, then falling score.

    `queries` (k,) and `score` (k,) are the members' means; `knee` is a member, or None. `excluded` counts
    points that should take part but have a value that is not finite, `outside` those beyond a limit.
    """

    points: Points
    members: Ints
    queries: Floats
    score: Floats
    knee: int | None
    hypervolume: float
    excluded: int
    outside: int

    def rows(self) -> list[int]:
        """The rows of all members, member by member: each seed of each."""
        return [int(row) for member in self.members for row in self.points.rows(member)]

    def within(self, max_queries: float | None, min_score: float | None) -> "Front":
        """The part within limits; knee and hypervolume stay the whole front's."""
        keep = np.ones(len(self.members), dtype=np.bool_)
        if max_queries is not None:
            keep &= self.queries <= max_queries
        if min_score is not None:
            keep &= self.score >= min_score
        part = {name: getattr(self, name)[keep] for name in ("members", "queries", "score")}
        return replace(self, **part)


def pareto_front(points: Points, columns: Mapping[str, npt.ArrayLike], goal: Goal) -> Front:
    """The points that no other beats in all objectives; `columns` (rows,) has each objective by name.

    A student that asked nothing is no result, though nothing could dominate it: such rows must not count.
    The knee is where the trade of score for queries bends, whatever else is an objective.
    """
    values = points.values(goal, columns)
    members = np.flatnonzero(nondominated(goal.costs(values)))
    queries, reached = goal.column(values, QUERIES.name), goal.column(values, goal.score)
    members = members[np.lexsort((-reached[members], queries[members]))]
    scaled = goal.scaled(values[members])
    flat = np.flatnonzero(nondominated(scaled))
    at = knee(scaled[flat])
    finite = np.isfinite(values).all(axis=1)
    return Front(
        points=points,
        members=members,
        queries=queries[members],
        score=reached[members],
        knee=None if at is None else int(members[flat[at]]),
        hypervolume=hypervolume(scaled),
        excluded=int((points.counts & ~finite).sum()),
        outside=int((finite & ~goal.allows(values)).sum()),
    )


def final_front(records: Sequence[TrialRecord], goal: Goal) -> Front:
    """The front over the trials that finished; rows are records."""
    return pareto_front(final_points(records), _columns(records, goal), goal)


def final_points(records: Sequence[TrialRecord]) -> Points:
    """The points of records: finished trials of one recipe are one, and nothing else counts."""
    counts = [one.status is TrialStatus.FINISHED and one.queries > 0 for one in records]
    return pooled((one.config.recipe for one in records), counts)


def contenders(records: Sequence[TrialRecord], goal: Goal, seeds: int) -> set[str]:
    """Uids of the finished trials whose point can still be on the final front; of no others.

    Lost is a point that does not count, or is beaten by one that will not change: it has all its `seeds`,
    and no trial of its recipe is under way. While one of its own is under way, nothing is decided. With one
    seed a config that is lost stays so; with more, a further one could bring it back.
    """
    points = final_points(records)
    open_recipes = {one.config.recipe for one in records if not one.status.ended}
    changing = np.array([records[row].config.recipe in open_recipes for row in points.first], dtype=np.bool_)
    costs = goal.costs(points.values(goal, _columns(records, goal)))
    settled = costs[(points.seeds >= seeds) & ~changing]
    lost = np.isnan(costs).any(axis=1) | beaten(costs, settled[nondominated(settled)])
    in_play = points.counts & (changing | ~lost)
    return {one.uid for one, point in zip(records, points.of, strict=True) if in_play[point]}


def _columns(records: Sequence[TrialRecord], goal: Goal) -> dict[str, npt.ArrayLike]:
    return {name: [getattr(one, name) for one in records] for name in goal.names}
