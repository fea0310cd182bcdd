"""What a budget buys: the best point under a limit, and what several runs attained."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from raysys.fronts.front import Front
from raysys.fronts.objectives import Floats


def best_within(front: Front, max_queries: float) -> int | None:
    """The member with the best score for at most that many queries; None where that buys nothing."""
    part = front.within(max_queries, None)
    return int(part.members[np.argmax(part.score)]) if len(part.members) else None


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
    scores = [[np.max(one.within(limit, None).score, initial=-np.inf) for limit in limits] for one in fronts]
    ranked = -np.sort(-np.array(scores).reshape(len(fronts), len(limits)), axis=0)[by - 1]
    return np.where(np.isfinite(ranked), ranked, np.nan)
