"""The few numbers that say how a run goes: what it found, what that cost, and how long it still takes."""

import math
from dataclasses import dataclass

import numpy as np

from raysys.records import TrialStatus
from raysys.store.points import Kind, ended_trials, floats, front_within, run_front, run_history
from raysys.store.reader import Snapshot


@dataclass(frozen=True)
class Headline:
    """How a run goes. `front` counts points within the limits, `best` is the highest score among them;
    `hypervolume` is the whole front's.

    `gained` is what the hypervolume of the final front gained over the `recent` trials that ended last: a
    tenth of all, at least one; None before the second trial ended. The tables hold no times of the ends, so
    it is not known what the last hour gained.
    """

    front: int
    hypervolume: float
    gained: float | None
    recent: int
    best: float | None
    hours: float
    ended: int
    failed: int


def headline(
    snapshot: Snapshot,
    kind: Kind = "final",
    max_queries: float | None = None,
    min_score: float | None = None,
    max_seconds: float | None = None,
) -> Headline:
    """The numbers of a run, its front within the limits. `hours` of work of all trials together."""
    front = front_within(snapshot, run_front(snapshot, kind), kind, max_queries, min_score, max_seconds)
    volumes, counts = run_history(snapshot).hypervolume, snapshot.counts()
    recent = -(-len(volumes) // 10)
    return Headline(
        front=len(front.members),
        hypervolume=front.hypervolume,
        gained=float(volumes[-1] - volumes[-1 - recent]) if len(volumes) > 1 else None,
        recent=recent,
        best=float(front.score.max()) if len(front.members) else None,
        hours=float(np.nansum(floats(snapshot.trials, "seconds"))) / 3600,
        ended=sum(counts[status] for status in TrialStatus if status.ended),
        failed=counts[TrialStatus.FAILED],
    )


@dataclass(frozen=True)
class Pace:
    """Trials still `open`, or so many as a cap lets end; `trials` of work in them (a running one is half
    done), `seconds` of work each, `at_once` so many.
    """

    open: int
    trials: float
    seconds: float
    at_once: int

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return self.trials * self.seconds / self.at_once


def pace(snapshot: Snapshot) -> Pace | None:
    """How much is left if trials go on as those that ended, until all did or the cap on queries comes.

    None while none ended or none runs, and at the end. Breaks between sessions do not count.
    """
    ended = ended_trials(snapshot)
    running = snapshot.counts()[TrialStatus.RUNNING]
    if not ended.num_rows or not running:
        return None
    still, seconds = snapshot.manifest.trials - ended.num_rows, floats(ended, "seconds")
    left = still - 0.5 * running
    seconds = seconds[np.isfinite(seconds)]
    queries, cap = float(np.mean(floats(ended, "queries"))), snapshot.manifest.caps.get("queries")
    if cap is not None and queries:
        left = min(left, (cap - snapshot.charged) / queries)
    return (
        Pace(min(still, math.ceil(left + 0.5 * running)), left, float(seconds.mean()), running)
        if left > 0 and seconds.any()
        else None
    )
