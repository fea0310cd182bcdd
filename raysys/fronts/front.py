"""The Pareto front of a run: the one place that decides which points are on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raysys.fronts.hypervolume import Reference, hypervolume, scaled_costs
from raysys.fronts.objectives import ACCURACY, QUERIES, to_minimise
from raysys.fronts.pareto import knee, nondominated
from raysys.records import TrialRecord, TrialStatus

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Front:
    """A front among n points.

    `members` are rows of the input, by rising queries (then falling accuracy); `knee` is one of them, or
    None; `excluded` counts points that should take part but have a value that is not finite.
    """

    members: Ints
    knee: int | None
    hypervolume: float
    excluded: int


def final_front(
    status: npt.ArrayLike, queries: npt.ArrayLike, accuracy: npt.ArrayLike, reference: Reference
) -> Front:
    """Front over trials that are `finished`: all arguments (n,).

    `accuracy` is what ranks the students, in [0, 1] or NaN: accuracy or agreement on val.

    A student that asked nothing is no result, though nothing could dominate it: it is never on a front.
    """
    finished = np.asarray(status, dtype=object) == TrialStatus.FINISHED.value
    return _front(queries, accuracy, reference, finished)


def front_of_records(records: Sequence[TrialRecord], score: str, reference: Reference) -> Front:
    """The final front among the records of trials; `score` names the field that ranks them."""
    return final_front(
        [record.status.value for record in records],
        [record.queries for record in records],
        np.array([getattr(record, score) for record in records], dtype=np.float64),  # None becomes NaN
        reference,
    )


def anytime_front(queries: npt.ArrayLike, accuracy: npt.ArrayLike, reference: Reference) -> Front:
    """Front over all reports of all trials: what was reached on the way, whatever became of the trial."""
    return _front(queries, accuracy, reference, np.ones(len(np.asarray(queries)), dtype=bool))


def _front(
    queries: npt.ArrayLike, accuracy: npt.ArrayLike, reference: Reference, eligible: npt.NDArray[np.bool_]
) -> Front:
    spent = np.asarray(queries, dtype=np.float64)
    reached = np.asarray(accuracy, dtype=np.float64)
    costs = to_minimise(np.stack([reached, spent], axis=1), (ACCURACY, QUERIES))
    eligible = eligible & (spent != 0)
    costs[~eligible] = np.nan
    members = np.flatnonzero(nondominated(costs))
    members = members[np.lexsort((-reached[members], spent[members]))]
    at = knee(costs[members])
    return Front(
        members=members,
        knee=None if at is None else int(members[at]),
        hypervolume=hypervolume(scaled_costs(spent[members], reached[members], reference)),
        excluded=int((eligible & np.isnan(costs).any(axis=1)).sum()),
    )
