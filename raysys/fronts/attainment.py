"""What a budget buys: the best point under a limit, and what several runs attained."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from raysys.fronts.front import Front
from raysys.fronts.objectives import Floats
from raysys.fronts.points import Ints


def staircase(front: Front) -> Ints:
    """Places (j,) among the members at which more queries first buy a better score.

    They are the front in queries and score alone: with a third objective some members are none of them.
    """
    before = np.concatenate([[-np.inf], np.maximum.accumulate(front.score)[:-1]])[: len(front.score)]
    return np.flatnonzero(front.score > before)


def best_within(front: Front, max_queries: float) -> int | None:
    """The member with the best score for at most that many queries; None where that buys nothing."""
    stairs = staircase(front)
    bought = int(np.searchsorted(front.queries[stairs], max_queries, side="right"))
    return int(front.members[stairs[bought - 1]]) if bought else None


def cheapest_with(front: Front, min_score: float) -> int | None:
    """The member that reaches the score with the fewest queries; None where none does."""
    part = front.within(None, min_score)
    return int(part.members[0]) if len(part.members) else None


def attained(fronts: Sequence[Front], budgets: npt.ArrayLike, by: int) -> Floats:
    """The score (budgets,) that at least `by` of the runs, 1 to all, attain within each budget in queries.

    NaN where fewer have any student so cheap. All runs attain the worst case, one the best. These are cuts
    through the empirical attainment function of the fronts (Grunert da Fonseca, Fonseca and Hall 2001).
    """
    limits = np.asarray(budgets, dtype=np.float64)
    scores = np.array([_bought(front, limits) for front in fronts]).reshape(len(fronts), len(limits))
    ranked = -np.sort(-scores, axis=0)[by - 1]
    return np.where(np.isfinite(ranked), ranked, np.nan)


def queries_for(fronts: Sequence[Front], min_score: float, by: int) -> float | None:
    """The fewest queries within which at least `by` of the runs, 1 to all, attain the score; None: none."""
    cheapest = [np.min(front.within(None, min_score).queries, initial=np.inf) for front in fronts]
    found = float(np.sort(cheapest)[by - 1])
    return found if math.isfinite(found) else None


def runs_for(share: float, runs: int) -> int:
    """How many runs are at least that share, above 0 to 1, of all: one or more."""
    return math.ceil(share * runs)


def steps(fronts: Sequence[Front]) -> Floats:
    """The budgets in queries, rising, at which any run attains more: between them nothing changes."""
    return np.unique(np.concatenate([np.empty(0), *(one.queries[staircase(one)] for one in fronts)]))


def round_budgets(low: float, high: float) -> list[int]:
    """Budgets 1, 2 and 5 times powers of ten from `low` > 0 on; the last is the first at `high` or above."""
    found: list[int] = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for budget in (10**power, 2 * 10**power, 5 * 10**power):
            if budget >= low and (not found or found[-1] < high):
                found.append(budget)
    return found


def _bought(front: Front, limits: Floats) -> Floats:
    """The best score (limits,) within each budget; -inf where there is no student so cheap."""
    stairs = staircase(front)
    bought = np.searchsorted(front.queries[stairs], limits, side="right")
    return np.concatenate([[-np.inf], front.score[stairs]])[bought]
