"""Searches side by side: runs that differ by their seed only are repetitions of one search."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median_low
from typing import Any

import numpy as np
import numpy.typing as npt

from raysys.errors import UsageError
from raysys.fronts.attainment import attained, runs_for
from raysys.fronts.bootstrap import difference_interval
from raysys.fronts.front import Front
from raysys.fronts.history import History
from raysys.fronts.objectives import Floats
from raysys.store.comparison import EVIDENCE, Spread, alike, spread
from raysys.store.manifest import Manifest
from raysys.store.points import ended_trials, floats, run_front, run_history
from raysys.store.reader import Snapshot

BUDGETS = 8
"""At how many budgets attainment is told."""

TIE = 1e-9
"""Hypervolumes that differ by less are equal."""


@dataclass(frozen=True)
class Search:
    """The runs of one search, by rising seed; `terms` is all that it was besides its seed."""

    terms: Mapping[str, Any]
    snapshots: tuple[Snapshot, ...]
    fronts: tuple[Front, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        """Where the runs are."""
        return tuple(one.path for one in self.snapshots)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The runs' seeds."""
        return tuple(one.manifest.seed for one in self.snapshots)

    @cached_property
    def histories(self) -> tuple[History, ...]:
        """How each run's front grew."""
        return tuple(map(run_history, self.snapshots))

    @property
    def hypervolume(self) -> Spread | None:
        """Of the final fronts."""
        return spread([front.hypervolume for front in self.fronts])

    @property
    def spent(self) -> list[float]:
        """Queries of all trials of each run that have ended."""
        return [float(np.nansum(floats(ended_trials(one), "queries"))) for one in self.snapshots]

    def queries_to_reach(self, level: float) -> list[float | None]:
        """Queries after which each run first had that hypervolume; None where it never did."""
        return [history.queries_to_reach(level) for history in self.histories]

    def reached_by(self, share: float, budgets: npt.ArrayLike) -> Floats:
        """The score (budgets,) that at least that share of the runs, in (0, 1], attain within each budget."""
        return attained(self.fronts, budgets, runs_for(share, len(self.fronts)))

    def attained(self, budgets: Sequence[int]) -> dict[str, list[float | None]]:
        """The score within each budget that all runs attain, at least half of them, and the best one."""
        runs = len(self.fronts)
        by = {"worst": runs, "median": -(-runs // 2), "best": 1}
        return {
            name: [
                None if np.isnan(score) else float(score) for score in attained(self.fronts, budgets, count)
            ]
            for name, count in by.items()
        }


@dataclass(frozen=True)
class Versus:
    """What the mean hypervolume of a search is above that of another one.

    `interval` is the 95 % bootstrap interval of it; None where either has fewer than 3 runs. `paired`: both
    have the same seeds, and each pair counts as one. Wins, ties and losses are seeds that both have.
    """

    difference: float
    interval: tuple[float, float] | None
    paired: bool
    wins: int
    ties: int
    losses: int


def versus(search: Search, other: Search) -> Versus:
    """A search against another one with like fronts; runs with one seed count as one, at their mean."""
    ours, theirs = _by_seed(search), _by_seed(other)
    paired = ours.keys() == theirs.keys()
    values, others = list(ours.values()), list(theirs.values())  # by rising seed, both
    enough = min(len(values), len(others)) >= EVIDENCE
    off = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
    return Versus(
        difference=fmean(values) - fmean(others),
        interval=difference_interval(values, others, paired) if enough else None,
        paired=paired,
        wins=sum(one > TIE for one in off),
        ties=sum(abs(one) <= TIE for one in off),
        losses=sum(one < -TIE for one in off),
    )


def _by_seed(search: Search) -> dict[int, float]:
    found: defaultdict[int, list[float]] = defaultdict(list)
    for seed, front in zip(search.seeds, search.fronts, strict=True):
        found[seed].append(front.hypervolume)
    return {seed: fmean(volumes) for seed, volumes in found.items()}


def with_like_fronts(runs: Sequence[Snapshot]) -> tuple[list[Snapshot], list[UsageError]]:
    """Of comparable runs those whose fronts are measured as the first one's, and why each other's is not.

    Fronts compare only where objectives, reference and limits are the same.
    """
    return alike(runs, _measure, "fronts")


def searches(runs: Iterable[Snapshot]) -> list[Search]:
    """The searches that runs with like fronts are of, in the order given."""
    return [_search(group) for group in by_search(runs)]


def by_search(runs: Iterable[Snapshot]) -> list[list[Snapshot]]:
    """The runs of each search, by rising seed; the searches in the order given."""
    groups: defaultdict[str, list[Snapshot]] = defaultdict(list)
    for snapshot in runs:
        groups[json.dumps(_terms(snapshot.manifest), sort_keys=True)].append(snapshot)
    return [sorted(group, key=lambda one: one.manifest.seed) for group in groups.values()]


def budgets(found: Iterable[Search]) -> list[int]:
    """Budgets at which to compare: evenly spaced in log queries, over what the fronts span.

    Raises UsageError where there is no front.
    """
    spans = [front.queries[[0, -1]] for one in found for front in one.fronts if len(front.members)]
    if not spans:
        raise UsageError("none of these runs has a front", "no finished trial has a score within the limits")
    low, high = np.min(spans), np.max(spans)
    return [int(each) for each in np.unique(np.ceil(np.geomspace(low, high, BUDGETS).round(6)))]


def common_level(found: Iterable[Search]) -> float:
    """The hypervolume by which searches are timed: the final one of the median run of the worst search."""
    return min(median_low([float(each.hypervolume[-1]) for each in one.histories]) for one in found)


def search_json(search: Search, at: Sequence[int], level: float) -> dict[str, Any]:
    """A search as JSON data; `attained` in the order of the budgets, other lists in that of the runs."""
    over = search.hypervolume
    return {
        **search.terms,
        "runs": search.runs,
        "seeds": search.seeds,
        "queries": search.spent,
        "hypervolume": {
            "mean": over and over.mean,
            "std": over and over.std,
            "values": [front.hypervolume for front in search.fronts],
        },
        "queries_to_reach": search.queries_to_reach(level),
        "attained": search.attained(at),
    }


def _search(group: Sequence[Snapshot]) -> Search:
    return Search(
        terms=_terms(group[0].manifest),
        snapshots=tuple(group),
        fronts=tuple(run_front(one) for one in group),
    )


def _measure(manifest: Manifest) -> dict[str, str]:
    """What fronts are measured by."""
    goal = manifest.goal
    return {
        "objectives": ", ".join(goal.names),
        "references": f"{goal.score} {goal.reference.accuracy:g}, {goal.reference.queries:,} queries",
        "limits": ", ".join(f"{name} {limit:g}" for name, limit in sorted(goal.limits.items())) or "none",
    }


def _terms(manifest: Manifest) -> dict[str, Any]:
    """All that a search was, besides its seed."""
    return {
        "space": str(manifest.space.get("name", "")),
        "space_digest": manifest.space_digest,
        "preset": manifest.preset,
        "method": manifest.method,
        "response": manifest.response,
        "sampler": manifest.sampler,
        "scheduler": manifest.scheduler,
        "replicates": manifest.seeds,
        "warm_start": manifest.warm_start,
        "trials": manifest.trials,
        "caps": manifest.caps,
    }
