"""What early stopping would have done to a run: its reports, told once more. No ray, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysys.cluster.early_stopping import curves, extras, is_further_seed, query_budget
from raysys.errors import UsageError
from raysys.fronts.front import Front, final_front
from raysys.records import TrialRecord, TrialStatus
from raysys.search.query_asha import Decision, QueryAsha, milestones
from raysys.store.reader import Snapshot


@dataclass(frozen=True)
class WhatIf:
    """The run as it was, and without what would have been stopped.

    `stopped` has the decisions by uid; `queries` is what the trials were charged, `saved` the part of it
    after those decisions; `lost` are the trials that only the front `before` has, because they were stopped.
    """

    scheduler: str
    milestones: tuple[int, ...]
    stopped: Mapping[str, Decision]
    queries: int
    saved: int
    before: Front
    after: Front
    lost: tuple[str, ...]

    @property
    def share(self) -> float:
        """The saved queries as a share of all, in [0, 1]."""
        return self.saved / self.queries if self.queries else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of `raysys front --what-if --json`, but for the run."""
        fronts = {"before": self.before, "after": self.after}
        return {
            "scheduler": self.scheduler,
            "milestones": list(self.milestones),
            "stopped": [
                {"uid": uid, "milestone": why.milestone, "reason": why.reason}
                for uid, why in self.stopped.items()
            ],
            "queries": {"charged": self.queries, "saved": self.saved, "share": self.share},
            **{
                name: {"points": len(front.members), "hypervolume": front.hypervolume}
                for name, front in fronts.items()
            },
            "lost": list(self.lost),
        }


def what_if(snapshot: Snapshot) -> WhatIf:
    """Let `QueryAsha` judge the trials of a run, one after the other by uid.

    Trials that made no reports at milestones are judged by the last one before, of a student that had not
    gone through its final phases: an estimate. Raises UsageError where no trial can be judged.
    """
    manifest, told = snapshot.manifest, list(curves(snapshot))
    records = [record for record, _ in told]
    budgets = [query_budget(record.config) for record in records]
    rungs = manifest.milestones or milestones(min(budgets, default=1), manifest.reference.queries)
    asha = QueryAsha(rungs, extras=len(extras(manifest)))
    for number, record in enumerate(records):
        if is_further_seed(record.config, records[:number]):
            asha.spare(record.uid)
    decisions = {record.uid: _judged(snapshot, asha, record, reports) for record, reports in told}
    if all(decision is None for decision in decisions.values()):
        raise UsageError(
            f"no trial of {snapshot.path} can be judged",
            f"none has reports at or around a milestone ({', '.join(map(str, rungs)) or 'there are none'})"
            " from a quarter of its budget to half",
            "use a run whose trials have different query budgets",
        )
    by_itself = {record.uid for record in records if record.status is TrialStatus.STOPPED}
    stopped = {
        uid: decision
        for uid, decision in decisions.items()
        if decision and not decision.goes_on and uid not in by_itself
    }
    before = final_front(records, manifest.goal)
    left = [record for record in records if record.uid not in stopped]
    on_front = [records[row].uid for row in before.rows()]
    return WhatIf(
        scheduler=manifest.scheduler,
        milestones=tuple(rungs),
        stopped=stopped,
        queries=sum(record.queries for record in records),
        saved=sum(r.queries - stopped[r.uid].milestone for r in records if r.uid in stopped),
        before=before,
        after=final_front(left, manifest.goal),
        lost=tuple(uid for uid in on_front if uid in stopped),
    )


def _judged(
    snapshot: Snapshot, asha: QueryAsha, record: TrialRecord, reports: list[Mapping[str, Any]]
) -> Decision | None:
    """The decision that stopped the trial, or the last one, or None where it was never judged."""
    score, more = snapshot.manifest.score, extras(snapshot.manifest)
    last = None
    for report in reports:
        values = report[score], bool(report["milestone"]), [report[name] for name in more]
        decision = asha.report(record.uid, query_budget(record.config), report["queries"], *values)
        last = decision or last
        if decision is not None and not decision.goes_on:
            return decision
    if record.status is TrialStatus.FINISHED:
        costs = [getattr(record, name) for name in more]
        asha.ended(record.uid, record.queries, getattr(record, score), costs)
    return last
