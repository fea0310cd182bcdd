"""How many teacher queries to buy: what runs attain within a budget, and the median of one search's seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raysys.fronts.attainment import (
    attained,
    best_within,
    queries_for,
    round_budgets,
    runs_for,
    steps,
)
from raysys.fronts.front import Front
from raysys.fronts.objectives import Floats
from raysys.store.comparison import EVIDENCE, comparable
from raysys.store.points import Kind, floats, points_table, run_front
from raysys.store.reader import Snapshot
from raysys.store.searches import by_search, with_like_fronts

MEDIAN, LOWER, UPPER = 0.5, 0.75, 0.25
"""Shares of the seeds that attain the median, and the edges of its band."""

_LARGEST_UNIT = 4


@dataclass(frozen=True)
class Curve:
    """What one run attains, or the median of the runs of one search where they are at least `EVIDENCE`."""

    runs: tuple[Snapshot, ...]
    fronts: tuple[Front, ...]

    @property
    def name(self) -> str:
        """The run's name, or that of the first and how many more there are."""
        more = len(self.runs) - 1
        return self.runs[0].name + (f" and {more} more seeds" if more else "")

    @property
    def banded(self) -> bool:
        """Whether it is a median over seeds."""
        return len(self.runs) > 1

    def attained(self, budgets: npt.ArrayLike, share: float = MEDIAN) -> Floats:
        """The score (budgets,) that at least that share of the runs attain within each; NaN: none does.

        A run that has no student within a budget has not attained anything.
        """
        return attained(self.fronts, budgets, runs_for(share, len(self.fronts)))

    def queries_for(self, min_score: float) -> float | None:
        """The fewest queries within which at least half of the runs attain the score; None: they never do."""
        return queries_for(self.fronts, min_score, runs_for(MEDIAN, len(self.fronts)))


def compared_fronts(runs: Sequence[Snapshot]) -> tuple[tuple[Snapshot, ...], list[str]]:
    """The first run and those whose fronts compare with its own; and why the others' do not."""
    kept, refused = [runs[0]], []
    for other in runs[1:]:
        found, without = comparable((runs[0], other))
        like, unlike = with_like_fronts(found)
        kept += [one for one in like if one is other]
        refused += [str(reason) for reason in (*without, *unlike)]
    return tuple(kept), list(dict.fromkeys(refused))


def curves(runs: Sequence[Snapshot], kind: Kind = "final") -> list[Curve]:
    """A curve for each search with enough of these runs, which must be comparable, else for each run."""
    found = []
    for group in by_search(runs):
        fronts = [run_front(one, kind) for one in group]
        if len(group) >= EVIDENCE:
            found.append(Curve(tuple(group), tuple(fronts)))
        else:
            found += [Curve((one,), (front,)) for one, front in zip(group, fronts, strict=True)]
    return found


def budgets(found: Sequence[Curve]) -> list[int]:
    """Round budgets (1, 2, 5 times powers of ten) over what the fronts span; none where there is no front."""
    all_steps = steps([front for one in found for front in one.fronts])
    return round_budgets(max(1.0, all_steps[0]), all_steps[-1]) if len(all_steps) else []


def unit(at: Sequence[int]) -> int:
    """How many more queries gains are told for: a power of ten that fits the budgets, at most 10,000."""
    return int(10 ** np.clip(np.floor(np.log10(max(at, default=1) / 2)), 0, _LARGEST_UNIT))


def bought(one: Curve, at: Sequence[int]) -> Floats:
    """The queries (budgets,) at which what is attained within each budget was first attained; NaN: never."""
    every = steps(one.fronts)
    reached = np.nan_to_num(one.attained(every), nan=-np.inf)
    own = every[reached > np.append(-np.inf, reached)[:-1]]
    return np.append(np.nan, own)[np.searchsorted(own, at, side="right")]


def gains(one: Curve, at: Sequence[int]) -> Floats:
    """Percentage points (budgets,) that `unit` more queries buy, up to the next budget that buys any.

    They are told over the queries that were `bought`: between two of these no better student is known, so
    that a budget which buys the same as the one before has the same gain. NaN: nothing better is known.
    """
    queries, scores = bought(one, at), one.attained(at)
    found = np.full(len(at), np.nan)
    for place, own in enumerate(queries):
        better = np.flatnonzero(queries > own)
        if len(better):
            rise = scores[better[0]] - scores[place]
            found[place] = 100 * rise / (queries[better[0]] - own) * unit(at)
    return found


def budget_table(found: Sequence[Curve], kind: Kind = "final") -> pa.Table:
    """For each round budget and run: the best student within it; a row without uid: there is none.

    Columns `budget`, `run`, `seed`, `uid`, `score`, `score_std` (over the student's seeds), `queries` (its
    own), `cost` (USD) where some run has a price, and `gain` (see `gains`).
    """
    at = budgets(found)
    rows: list[dict[str, Any]] = []
    for one in found:
        for run, front in zip(one.runs, one.fronts, strict=True):
            rows += _run_rows(run, front, kind, at)
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["budget"]), schema=_BUDGETS)
    return table if any(one.manifest.price for curve in found for one in curve.runs) else table.drop("cost")


def attainment_table(found: Sequence[Curve]) -> pa.Table:
    """For each round budget and search with enough seeds: the median attained, and its band.

    Columns `budget`, `search`, `seeds`, `attained` (how many of them have a student within the budget),
    `lower` (what 75 % of the seeds attain), `median`, `upper` (25 %) and `gain` of the median.
    """
    at = budgets(found)
    rows: list[dict[str, Any]] = []
    for one in (one for one in found if one.banded):
        levels = {name: one.attained(at, share) for name, share in _LEVELS.items()}
        gain = _known(gains(one, at))
        for place, budget in enumerate(at):
            within = sum(bool(np.any(front.queries <= budget)) for front in one.fronts)
            scores = {name: _known(values)[place] for name, values in levels.items()}
            rows.append(
                {"budget": budget, "search": one.name, "seeds": len(one.runs), "attained": within}
                | scores
                | {"gain": gain[place]}
            )
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["budget"]), schema=_ATTAINED)


def needed_table(found: Sequence[Curve], min_score: float) -> pa.Table:
    """The cheapest budget with which a run attains the score, or half of a search's seeds do.

    Columns `search`, `seeds`, `attained` (by how many of them at any budget), `queries`, and `cost` (USD)
    where some run has a price; no queries: it is not attained.
    """
    rows = []
    for one in found:
        queries, price = one.queries_for(min_score), one.runs[0].manifest.price
        rows.append(
            {
                "search": one.name,
                "seeds": len(one.runs),
                "attained": sum(bool(np.any(front.score >= min_score)) for front in one.fronts),
                "queries": queries,
                "cost": price * queries if price and queries is not None else None,
            }
        )
    table = pa.Table.from_pylist(rows, schema=_NEEDED)
    return table if any(one.runs[0].manifest.price for one in found) else table.drop("cost")


_LEVELS = {"lower": LOWER, "median": MEDIAN, "upper": UPPER}

_BUDGETS = pa.schema(
    {
        "budget": pa.int64(),
        "run": pa.string(),
        "seed": pa.int64(),
        "uid": pa.string(),
        "score": pa.float64(),
        "score_std": pa.float64(),
        "queries": pa.float64(),
        "cost": pa.float64(),
        "gain": pa.float64(),
    }
)
_ATTAINED = pa.schema(
    {
        "budget": pa.int64(),
        "search": pa.string(),
        "seeds": pa.int64(),
        "attained": pa.int64(),
        "lower": pa.float64(),
        "median": pa.float64(),
        "upper": pa.float64(),
        "gain": pa.float64(),
    }
)
_NEEDED = pa.schema(
    {
        "search": pa.string(),
        "seeds": pa.int64(),
        "attained": pa.int64(),
        "queries": pa.float64(),
        "cost": pa.float64(),
    }
)


def _run_rows(run: Snapshot, front: Front, kind: Kind, at: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of one run."""
    bought = [best_within(front, budget) for budget in at]
    members = np.array(sorted({one for one in bought if one is not None}), dtype=np.int64)
    students = points_table(run, front, kind, members)
    score, price = run.manifest.score, run.manifest.price
    told = {
        member: {
            "uid": student["uid"],
            "score": student[score],
            "score_std": spread,
            "queries": student["queries"],
            "cost": price * student["queries"] if price else None,
        }
        for member, student, spread in zip(
            members.tolist(), students.to_pylist(), _known(floats(students, f"{score}_std")), strict=True
        )
    }
    more = _known(gains(Curve((run,), (front,)), at))
    return [
        {"budget": budget, "run": run.name, "seed": run.manifest.seed, "gain": gain} | told.get(member, {})
        for budget, member, gain in zip(at, bought, more, strict=True)
    ]


def _known(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
