"""A run as it stands on disk, at one moment. Reads Parquet and JSON only; never unpickles."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raysys.files import file_info
from raysys.records import TrialRecord, TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest, read_manifest
from raysys.store.parts import Parts
from raysys.store.schema import PARAMETER, REPORTS, TRIALS, trial_record

_BUDGET = PARAMETER + "query_budget"


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment; `path` is its location, as commands take it.

    `trials` has one row a trial, in the order in which they got their present status: those that ended, in
    the order of their ends. `reports` has one row a (trial, step), grouped by trial, by rising step.
    `skipped` counts parts whose rows are lost: damaged or missing, and merged into no other. `damaged` names
    the files that cannot be read, also where nothing is lost with them. `updated` is when the newest file was
    written (UTC).
    """

    name: str
    path: str
    manifest: Manifest
    trials: pa.Table
    reports: pa.Table
    skipped: int
    updated: datetime
    damaged: tuple[str, ...] = ()

    def records(self) -> list[TrialRecord]:
        """The trials as records, in the table's order."""
        return [trial_record(row) for row in self.trials.select(TRIALS.names).to_pylist()]

    @property
    def charged(self) -> int:
        """Queries charged so far: the manifest's total, or the trials' sum where that is ahead of it."""
        told = pa.concat_tables([one.select(["uid", "queries"]) for one in (self.trials, self.reports)])
        trials = told.group_by("uid").aggregate([("queries", "max")])
        return max(self.manifest.charged, int(pc.sum(trials["queries_max"], min_count=0).as_py()))

    @property
    def unspent(self) -> int:
        """What early stopping saved: the budgets of the trials that were stopped, less their queries."""
        stopped = self.trials.filter(pc.equal(self.trials["status"], TrialStatus.STOPPED.value))
        if _BUDGET not in stopped.column_names:
            return 0
        return int(pc.sum(pc.subtract(stopped[_BUDGET], stopped["queries"]), min_count=0).as_py())

    def failures(self) -> dict[str, int]:
        """First lines of the failed trials' errors, the most frequent first, with how often each came."""
        rows = self.trials.select(["status", "error"]).to_pylist()
        errors = [row["error"].partition("\n")[0] for row in rows if row["status"] == TrialStatus.FAILED]
        return dict(Counter(error for error in errors if error).most_common())

    def notes(self) -> dict[str, str]:
        """By uid, what to know of trials that finished: they diverged, or asked less than they might have."""
        rows = self.trials.select(["uid", "status", "error"]).to_pylist()
        return {
            row["uid"]: row["error"] for row in rows if row["status"] == TrialStatus.FINISHED and row["error"]
        }

    def counts(self) -> dict[TrialStatus, int]:
        """Trials by status; planned ones that have no row yet are pending."""
        found = Counter(self.trials["status"].to_pylist())
        counts = {status: found[status.value] for status in TrialStatus}
        counts[TrialStatus.PENDING] += max(0, self.manifest.trials - self.trials.num_rows)
        return counts


def read_run(path: str | Path | RunLayout) -> Snapshot:
    """Read the run at a local path or URI; it may be written meanwhile.

    Raises CorruptRunError, and StorageError when the storage cannot be read now.
    """
    layout = path if isinstance(path, RunLayout) else RunLayout.open(path)
    # Trials first: a trial's end is written after its reports, so none of a finished trial can be missing.
    run = read_without_reports(layout)
    reports = reports_of(layout).read()
    return replace(
        run,
        reports=latest_reports(reports.table),
        skipped=run.skipped + reports.lost,
        damaged=run.damaged + reports.damaged,
    )


def read_without_reports(layout: RunLayout) -> Snapshot:
    """`read_run` as if the trials had reported nothing: reports are most of what there is to read."""
    manifest = read_manifest(layout)
    updated = last_change(layout)
    trials = trials_of(layout).read()
    return Snapshot(
        name=layout.name,
        path=layout.location,
        manifest=manifest,
        trials=latest_trials(trials.table),
        reports=REPORTS.empty_table(),
        skipped=trials.lost,
        updated=updated,
        damaged=trials.damaged,
    )


def trials_of(layout: RunLayout) -> Parts:
    """The parts of the trials table."""
    return Parts(layout.filesystem, layout.trials, TRIALS)


def reports_of(layout: RunLayout) -> Parts:
    """The parts of the reports table."""
    return Parts(layout.filesystem, layout.reports, REPORTS)


def last_change(layout: RunLayout) -> datetime:
    """When the newest file of the manifest and the tables was written (UTC); cheap enough to poll.

    Raises StorageError.
    """
    files = [
        file_info(layout.filesystem, layout.run_json),
        *trials_of(layout).files(),
        *reports_of(layout).files(),
    ]
    return max((info.mtime for info in files if info.mtime), default=datetime.fromtimestamp(0, UTC))


def latest_trials(table: pa.Table) -> pa.Table:
    """The last row of each uid, a higher attempt before a later row, where that status first stood.

    So a trial that is tested when the run ends keeps its place among those that ended.
    """
    uids, attempts, status = _codes(table), table["attempt"].to_numpy(), table["status"].to_numpy()
    order = np.argsort(attempts, kind="stable")
    last = order[_last(uids[order])]
    same = np.flatnonzero((status == status[last][uids]) & (attempts == attempts[last][uids]))
    since = same[np.unique(uids[same], return_index=True)[1]]
    return table.take(last[np.argsort(since)])


def latest_reports(table: pa.Table) -> pa.Table:
    """The last row of each (uid, step), grouped by uid, by rising step."""
    steps = table["step"].to_numpy()
    span = int(steps.max()) + 1 if len(steps) else 1
    keys = _codes(table) * span + steps
    if (np.diff(keys) > 0).all():  # as in a merged part
        return table
    return table.take(_last(keys))


def _codes(table: pa.Table) -> npt.NDArray[np.int64]:
    """A number for each uid, by first appearance: int64 (rows,)."""
    encoded = table["uid"].combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices, dtype=np.int64)


def _last(keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Index of the last occurrence of each key, by rising key."""
    _, first_from_end = np.unique(keys[::-1], return_index=True)
    return len(keys) - 1 - first_from_end
