"""Early stopping in a run: whether, at which milestones, and what its files say of it. No ray, no torch."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from raysys.cluster.plan import budget_range
from raysys.errors import UsageError
from raysys.fronts.objectives import QUERIES
from raysys.records import TrialConfig, TrialRecord, TrialStatus
from raysys.search.query_asha import QueryAsha, SchedulerName, milestones, own_milestones
from raysys.space.schema import Space
from raysys.store.manifest import Manifest
from raysys.store.reader import Snapshot


def plan_stopping(space: Space, asked: SchedulerName | None) -> tuple[SchedulerName, tuple[int, ...]]:
    """(scheduler, milestones in images) of a new run; without a wish, early stopping where it can compare.

    It can where anything is searched and budgets differ enough. Raises UsageError where it is asked for and
    cannot.
    """
    low, high = budget_range(space)
    found = milestones(low, high) if space.parameters else ()
    if asked == "query-asha" and not found:
        raise UsageError(
            "--scheduler query-asha has nothing to compare",
            f"it judges trials at half of the largest budget and less, and budgets are {low:,} to {high:,}"
            if space.parameters
            else "nothing is searched",
            "use --scheduler none, or a range of query_budget whose ends differ by a factor of 2 or more",
        )
    return ("query-asha", found) if found and asked != "none" else ("none", ())


def with_milestones(config: TrialConfig, manifest: Manifest) -> TrialConfig:
    """The config of a trial of this run, with the milestones at which it reports."""
    return replace(config, milestones=own_milestones(manifest.milestones, query_budget(config)))


def query_budget(config: TrialConfig) -> int:
    """The most images that the trial may be charged."""
    return int(config.options["query_budget"])


def is_further_seed(config: TrialConfig, records: Iterable[TrialRecord]) -> bool:
    """True when another trial of the config's recipe has finished: early stopping spares it."""
    return any(one.status is TrialStatus.FINISHED and one.config.recipe == config.recipe for one in records)


def extras(manifest: Manifest) -> list[str]:
    """The objectives besides the score and queries, which are equal at a milestone: costs, by column."""
    return [one.name for one in manifest.objectives if one.name not in (manifest.score, QUERIES.name)]


def replayed(snapshot: Snapshot, charged: Mapping[str, int]) -> QueryAsha:
    """The rungs as a run's files tell of them: who went on from a milestone is not judged there again.

    `charged` says what the ledger charged, by uid. A driver that was killed may have written the report that
    a trial was to be stopped for, and not its end: where nothing was asked after a milestone, the trial will
    tell of it again, and is judged then.
    """
    score, more = snapshot.manifest.score, extras(snapshot.manifest)
    asha = QueryAsha(snapshot.manifest.milestones, extras=len(more))
    for record, reports in curves(snapshot):
        budget = query_budget(record.config)
        undecided = not record.status.ended and reports and reports[-1]["milestone"]
        if undecided and reports[-1]["queries"] == charged.get(record.uid):
            reports = reports[:-1]
        for report in reports:
            values = report[score], bool(report["milestone"]), [report[name] for name in more]
            asha.replay(record.uid, budget, report["queries"], *values)
        # Its reports may be lost, and come again: nobody is judged twice.
        stopped = record.status is TrialStatus.STOPPED
        spent = record.queries if stopped else charged.get(record.uid, 0)
        asha.settled(record.uid, budget, spent, stopped)
        if record.status is TrialStatus.FINISHED:
            costs = [getattr(record, name) for name in more]
            asha.ended(record.uid, record.queries, getattr(record, score), costs)
    return asha


def curves(snapshot: Snapshot) -> Iterator[tuple[TrialRecord, list[Mapping[str, Any]]]]:
    """The trials by uid, each with its reports by rising step."""
    reports: dict[str, list[Mapping[str, Any]]] = {}
    for row in snapshot.reports.to_pylist():
        reports.setdefault(row["uid"], []).append(row)
    for record in sorted(snapshot.records(), key=lambda record: (len(record.uid), record.uid)):
        yield record, reports.get(record.uid, [])
