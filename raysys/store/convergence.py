"""How a search went on: what its front gained for what was paid, and what early stopping did."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.fronts.hypervolume import Reference
from raysys.fronts.objectives import Floats
from raysys.fronts.points import Ints
from raysys.records import TrialStatus
from raysys.store.points import ended_trials, finished_trials, floats, run_history, run_sizes
from raysys.store.reader import Snapshot

RUNGS = pa.schema(
    [
        ("milestone", pa.int64()),
        ("reached", pa.int64()),
        ("went_on", pa.int64()),
        ("stopped", pa.int64()),
        ("score_went_on", pa.float64()),
        ("score_stopped", pa.float64()),
    ]
)
"""Columns of `rungs`. `milestone` in queries; trials that `reached` it `went_on` or were `stopped` there; the
scores are medians of what they had there, null where there is none."""


@dataclass(frozen=True)
class Progress:
    """After each trial that ended (n,): what all trials up to it had cost, and the final front then.

    `hours` of work, `queries` in images, `cost` in USD (0 without a price). `hypervolume` in [0, 1] from
    `reference`, `front` in points.
    """

    hours: Floats
    queries: Floats
    cost: Floats
    hypervolume: Floats
    front: Ints
    reference: Reference

    @property
    def ended(self) -> int:
        """Trials that ended."""
        return len(self.queries)

    @property
    def last_gain(self) -> int:
        """The number of the trial with which the hypervolume grew last, from 1; 0 where it never did."""
        grew = np.flatnonzero(np.diff(self.hypervolume, prepend=0) > 0)
        return int(grew[-1]) + 1 if len(grew) else 0

    def gained(self, share: float) -> float:
        """By how much the hypervolume changed over the last `share` of the queries."""
        if not self.ended:
            return 0.0
        before = np.flatnonzero(self.queries <= (1 - share) * self.queries[-1])
        return float(self.hypervolume[-1] - (self.hypervolume[before[-1]] if len(before) else 0.0))


def progress(snapshot: Snapshot, reference: Reference | None = None) -> Progress:
    """How the final front grew, by the run's own reference point or another."""
    manifest = snapshot.manifest
    reference = reference or manifest.reference
    history = run_history(replace(snapshot, manifest=manifest.model_copy(update={"reference": reference})))
    return Progress(
        hours=np.nancumsum(floats(ended_trials(snapshot), "seconds")) / 3600,
        queries=history.queries,
        cost=history.queries * manifest.price,
        hypervolume=history.hypervolume,
        front=run_sizes(snapshot),
        reference=reference,
    )


def finished_values(snapshot: Snapshot, column: str) -> tuple[Floats, int]:
    """The finite values of a column in the finished trials, rising; and how many others there are."""
    values = floats(finished_trials(snapshot), column)
    finite = np.isfinite(values)
    return np.sort(values[finite]), int((~finite).sum())


def rungs(snapshot: Snapshot) -> pa.Table:
    """What early stopping did at each milestone that a trial reported at: columns `RUNGS`, rising."""
    reports = snapshot.reports.filter(snapshot.reports["milestone"])
    uids, at, score = reports["uid"], reports["queries"].to_numpy(), floats(reports, snapshot.manifest.score)
    ends = snapshot.trials.filter(pc.equal(snapshot.trials["status"], TrialStatus.STOPPED.value))
    places = pc.index_in(uids, ends["uid"].combine_chunks()).fill_null(-1).to_numpy()
    stopped = (places >= 0) & (np.append(ends["queries"].to_numpy(), -1)[places] == at)
    rows: list[dict[str, float | None]] = []
    for milestone in np.unique(at):
        here = at == milestone
        out, on = (_median(score[here & group]) for group in (stopped, ~stopped))
        gone = int((here & stopped).sum())
        counts = (int(milestone), int(here.sum()), int(here.sum()) - gone, gone)
        rows.append(dict(zip(RUNGS.names, (*counts, on, out), strict=True)))
    return pa.Table.from_pylist(rows, schema=RUNGS)


def _median(scores: Floats) -> float | None:
    finite = scores[np.isfinite(scores)]
    return float(np.median(finite)) if len(finite) else None
