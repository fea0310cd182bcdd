"""Which trials go on: rungs in teacher queries, as a plain class. No Ray, no clock, no files.

Asynchronous successive halving (Li et al., MLSys 2020, "A system for massively parallel hyperparameter
tuning"), its stopping variant: a trial is compared with all that reached a milestone before it, at once. What
one milestone buys is compared with nothing but that: a value from beyond it never counts for it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from raysys.fronts.objectives import Floats
from raysys.fronts.pareto import layers

SchedulerName = Literal["query-asha", "none"]

FACTOR = 2
"""Each milestone is this many times the one before it, and one of so many trials goes on there."""


@dataclass(frozen=True)
class Decision:
    """What becomes of a trial at a milestone, and why, for a person."""

    goes_on: bool
    milestone: int
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The trial's place among `entries`, 1 is the best; the best `kept` places go on."""

    goes_on: bool
    place: int
    entries: int
    kept: int


def milestones(low: int, high: int, factor: int = FACTOR) -> tuple[int, ...]:
    """`high` / `factor`**k for k = 1, 2, ..., rounded, from `low` on, rising; budgets in images, 1 or more.

    Raises ValueError for a factor below 2.
    """
    if factor < 2:
        raise ValueError(f"factor must be at least 2, not {factor}")
    found = set()
    at = high / factor
    while round(at) >= max(low, 1):
        found.add(round(at))
        at /= factor
    return tuple(sorted(found - {high}))


def own_milestones(of_run: Iterable[int], budget: int) -> tuple[int, ...]:
    """Those of the run's milestones at which a trial of this budget reports: from a quarter of it to half.

    After half, little is left to save. Before a quarter, the trial would be compared with others whose whole
    schedule was made for so few queries: the best recipe for many would be stopped.
    """
    return tuple(milestone for milestone in of_run if 2 * milestone <= budget <= 4 * milestone)


def judge(own: int, rung: Floats, factor: int) -> Verdict:
    """The rule: row `own` of `rung` (n, 1 + m) against all of it. A row has a score, then m costs.

    Places follow the non-dominated layers, within a layer the score; ties share the better place. The best
    ceil(n / factor) places go on, all while n < factor. No score (NaN) is last, and never one of the best.
    """
    scores = np.nan_to_num(rung[:, 0], nan=-math.inf)
    costs = np.column_stack([-scores, rung[:, 1:]])
    layer = layers(costs)
    better = (layer < layer[own]) | ((layer == layer[own]) & (scores > scores[own]))
    entries, place = len(rung), 1 + int(better.sum())
    kept = max(1, math.ceil(entries / factor))
    best = place <= kept and not math.isnan(rung[own, 0])
    return Verdict(entries < factor or best, place, entries, kept)


class QueryAsha:
    """Rungs at `milestones` (images charged, rising), each with one value a trial.

    Scores are larger for better students, None or NaN where there is none; `extra` are `extras` costs.
    What a rung holds depends on what was told, not on its order; a decision stays, whatever comes later.
    """

    def __init__(self, milestones: Sequence[int], factor: int = FACTOR, extras: int = 0) -> None:
        self._factor = factor
        self._extras = extras
        self._rungs: dict[int, dict[str, tuple[float, ...]]] = {at: {} for at in milestones}
        self._last: dict[str, tuple[int, tuple[float, ...]]] = {}
        self._decisions: dict[tuple[str, int], Decision] = {}
        self._spared: set[str] = set()

    def spare(self, uid: str) -> None:
        """This trial goes on whatever it reports: a further seed of a config that has a student already.

        A mean over the seeds that went well would be no mean.
        """
        self._spared.add(uid)

    def report(
        self,
        uid: str,
        budget: int,
        queries: int,
        score: float | None,
        milestone: bool,
        extra: Sequence[float | None] = (),
    ) -> Decision | None:
        """A trial with this budget reports; None where that is at none of its milestones.

        It is at the one that it reports itself (`milestone`); a trial that does not is judged when it comes
        from beyond, by what it had told last until there. Told again, it gets the same decision.
        """
        decision = None
        for rung in self._enter(uid, budget, queries, self._value(score, extra), milestone):
            if (uid, rung) not in self._decisions:
                self._decisions[uid, rung] = self._decide(uid, rung)
            decision = self._decisions[uid, rung]
            if not decision.goes_on:
                break
        return decision

    def replay(
        self,
        uid: str,
        budget: int,
        queries: int,
        score: float | None,
        milestone: bool,
        extra: Sequence[float | None] = (),
    ) -> None:
        """A report of an earlier session, after which the trial went on: it is not judged there again."""
        for rung in self._enter(uid, budget, queries, self._value(score, extra), milestone):
            why = f"goes on at {rung:,} queries, as before"
            self._decisions[uid, rung] = Decision(True, rung, why)

    def settled(self, uid: str, budget: int, queries: int, stopped: bool) -> None:
        """What an earlier session decided about a trial that was charged so much, also where it told nothing.

        It went on at the milestones before; at the one that it came to, it was stopped or is still judged.
        """
        for rung in own_milestones(self._rungs, budget):
            if rung < queries:
                self._decisions[uid, rung] = Decision(True, rung, f"goes on at {rung:,} queries, as before")
            elif rung == queries and stopped:
                self._decisions[uid, rung] = Decision(False, rung, f"stopped at {rung:,} queries, as before")

    def ended(self, uid: str, queries: int, score: float | None, extra: Sequence[float | None] = ()) -> None:
        """A trial finished: what its queries bought counts at the next milestone, if that is near.

        It is below twice the queries. So those with small budgets help to judge those with larger ones.
        """
        ahead = min((rung for rung in self._rungs if rung >= queries), default=None)
        if ahead is not None and ahead < 2 * queries:
            self._rungs[ahead].setdefault(uid, self._value(score, extra))

    def _enter(
        self, uid: str, budget: int, queries: int, value: tuple[float, ...], milestone: bool
    ) -> list[int]:
        """The rungs that a report is at, with the trial in them."""
        own = own_milestones(self._rungs, budget)
        if milestone and queries in own:
            held, at = value, [queries]
        else:
            spent, held = self._last.get(uid, (queries, value))
            at = [rung for rung in own if spent <= rung < queries and uid not in self._rungs[rung]]
        for rung in at:
            self._rungs[rung].setdefault(uid, held)
        self._last[uid] = queries, value
        return at

    def _decide(self, uid: str, rung: int) -> Decision:
        entries = self._rungs[rung]
        verdict = judge(list(entries).index(uid), np.array(list(entries.values())), self._factor)
        score = entries[uid][0]
        told = "no score" if math.isnan(score) else f"{score:.1%}"
        reason = f"at {rung:,} queries: {told} there, {_ordinal(verdict.place)} of {verdict.entries}"
        if verdict.goes_on:
            return Decision(True, rung, f"goes on {reason}")
        if uid in self._spared:
            return Decision(True, rung, f"goes on {reason}; its config has a student already")
        kept = "only the best goes on" if verdict.kept == 1 else f"the best {verdict.kept} go on"
        return Decision(False, rung, f"stopped {reason}; {kept}")

    def _value(self, score: float | None, extra: Sequence[float | None]) -> tuple[float, ...]:
        if len(extra) != self._extras:
            raise ValueError(f"needs {self._extras} extra objectives, but got {len(extra)}")
        return tuple(math.nan if one is None else float(one) for one in (score, *extra))


def _ordinal(place: int) -> str:
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"
