"""Whether a run can be resumed, and what that will do: every file that counts is read, none is written."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from raysys.cluster import problem as problems
from raysys.cluster import resume_lost as lost
from raysys.cluster import resume_same as same
from raysys.cluster.caps import run_caps
from raysys.cluster.code import changed_code, versions
from raysys.cluster.early_stopping import query_budget
from raysys.cluster.machine import Machine
from raysys.cluster.problem import Problem
from raysys.cluster.resume_plan import GoesOn, ResumePlan
from raysys.data.datasets import Dataset
from raysys.distill.trial import Position
from raysys.errors import CorruptRunError, ResumeError, UsageError
from raysys.records import Account, TrialRecord, TrialStatus
from raysys.source import source_sha256
from raysys.space.load import apply_overrides, to_json
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest, RunState, newest_manifest
from raysys.store.reader import read_run
from raysys.store.warm_start import read_earlier
from raysys.teacher.journal import read_ledger, refuse_copy


@dataclass(frozen=True)
class Wish:
    """What a resume is asked to do.

    `own_data_root`: with the data where the run found it. `teacher_url` is where its teacher's server is now,
    if it moved; `max_queries` and `max_cost` replace the run's caps, where given. `space`, if given, must be
    the run's.
    """

    own_data_root: bool = True
    teacher_url: str | None = None
    max_queries: int | None = None
    max_cost: float | None = None
    extend: int = 0
    retry_failed: bool = False
    trust_program: bool = False
    space: Space | None = None


@dataclass(frozen=True)
class Resumable:
    """A run that can be resumed: what will be done, and all that is needed for it.

    `records` say which trials are open: interrupted ones go on. `problem` is None where the run ended before
    it had a teacher.
    """

    plan: ResumePlan
    manifest: Manifest
    records: list[TrialRecord]
    space: Space
    dataset: Dataset
    problem: Problem | None


def examine(layout: RunLayout, machine: Machine, wish: Wish) -> Resumable:
    """Check a run and plan its resume, also while another process works on it: nothing is written.

    Raises ResumeError, UsageError for a wish that makes no sense, and DataError where its data are missing.
    """
    with refused():
        return _examine(layout, machine, wish)


@contextmanager
def refused() -> Iterator[None]:
    """A run that cannot be read cannot be resumed."""
    try:
        yield
    except CorruptRunError as error:
        raise ResumeError(f"cannot resume: {error.what}", error.why, error.hint) from error


def _examine(layout: RunLayout, machine: Machine, wish: Wish) -> Resumable:
    manifest, instead = newest_manifest(layout)
    snapshot = read_run(layout)
    records = sorted(snapshot.records(), key=lambda record: record.uid)
    positions, damaged = lost.saved_positions(layout, records)
    refuse_copy(layout.ledger, layout.filesystem)
    ledger = read_ledger(layout.ledger, layout.filesystem)  # last: `check_ledger` says why
    same.check_kind(layout, manifest, records)
    space = same.same_space(layout, manifest, wish.space, wish.trust_program)
    dataset = same.same_data(layout, manifest, space, machine, wish.own_data_root)
    same.check_records(layout, manifest, records)
    same.check_ledger(layout, snapshot, ledger, positions, problems.held_out_queries(space, dataset))
    earlier = len(read_earlier(layout, manifest.warm_start_sha256)) if manifest.warm_start else 0
    if wish.teacher_url is not None:
        space = _moved(space, wish.teacher_url)
    accounts = ledger.accounts()
    problem = same.same_teacher(layout, manifest, space, dataset, bool(accounts))
    charged = sum(account.charged for account in accounts.values())
    executed = sum(account.executed for account in accounts.values())
    resumed = _resumed(manifest, space, wish).model_copy(update={"charged": charged, "executed": executed})
    if wish.retry_failed:
        records = [_reopened(one) if one.status is TrialStatus.FAILED else one for one in records]
    missing = lost.lost_reports(snapshot, [one for one in records if one.status.ended])
    failed = [one.uid for one in records if one.status is TrialStatus.FAILED and one.uid in missing]
    again = {uid: why for uid, why in missing.items() if uid not in failed}
    again |= lost.lost_students(layout, records, dataset.task, manifest)
    records = [_reopened(one) if one.uid in again else one for one in records]
    goes_on = [one for one in records if not one.status.ended and one.uid not in again]
    ended = [one.status for one in records if one.status.ended]
    plan = ResumePlan(
        run=layout.location,
        kept={status.value: ended.count(status) for status in TrialStatus if status in ended},
        goes_on=[_going_on(one, positions.get(one.uid), accounts) for one in goes_on],
        again=dict(sorted(again.items())),
        to_start=max(0, resumed.trials - len(records)),
        charged=charged,
        executed=executed,
        price=manifest.price,
        caps=resumed.caps,
        search=len(records),
        earlier=earlier,
        milestones=sum(snapshot.reports["milestone"].to_pylist()) if manifest.milestones else 0,
        fallbacks=[
            *([instead] if instead else []),
            *lost.damaged_tables(layout, snapshot),
            *damaged,
            *(f"{uid} failed and stays so, though {missing[uid]}" for uid in failed),
        ],
        changed=[*changed_code(manifest, source_sha256(), versions()), *_wishes(manifest, resumed, wish)],
    )
    return Resumable(plan, resumed, records, space, dataset, problem)


def _resumed(manifest: Manifest, space: Space, wish: Wish) -> Manifest:
    """The manifest of the run that goes on."""
    update = {
        "space": to_json(space),
        "caps": {**manifest.caps, **run_caps(space, wish.max_queries, wish.max_cost)},
        "trials": manifest.trials + wish.extend,
        "state": RunState.RUNNING,
    }
    return manifest.model_copy(update=update)


def _moved(space: Space, teacher_url: str) -> Space:
    if space.teacher.http is None:
        raise UsageError(
            "--teacher-url cannot be used: the run's teacher is not behind HTTP",
            "a resumed run keeps its teacher",
            "leave it out",
        )
    return apply_overrides(space, {"teacher.http.url": teacher_url}, source="--teacher-url")


def _reopened(record: TrialRecord) -> TrialRecord:
    """A trial that goes on though it had ended."""
    return replace(
        record,
        status=TrialStatus.INTERRUPTED,
        error="",
        test_accuracy=None,
        test_agreement=None,
        weights_sha256="",
    )


def _going_on(record: TrialRecord, position: Position | None, accounts: Mapping[str, Account]) -> GoesOn:
    charged = accounts[record.uid].charged if record.uid in accounts else 0
    at = position or Position(0, 0, 0)
    return GoesOn(record.uid, at.reports, at.queries, charged - at.queries, query_budget(record.config))


def _wishes(manifest: Manifest, resumed: Manifest, wish: Wish) -> list[str]:
    found = [f"--extend {wish.extend}: {resumed.trials} trials in all"] if wish.extend else []
    found += ["--retry-failed: failed trials go on"] if wish.retry_failed else []
    found += [f"the teacher's server is at {wish.teacher_url}"] if wish.teacher_url else []
    return found + [
        f"the run's cap on {name} is {cap:,g}" + (f", was {before:,g}" if before is not None else "")
        for name, cap in resumed.caps.items()
        if (before := manifest.caps.get(name)) != cap
    ]
