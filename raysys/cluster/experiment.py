"""A whole run on Ray Tune, started anew or resumed.

Tune's own state is not used for a resume: the run's tables, checkpoints and ledger say what happened. A
resumed run rebuilds the searcher from the trials' records and starts a new Tuner; trials that had not
ended are suggested first, with their uid, and go on from their own checkpoint.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from raysys.cluster import problem as problems
from raysys.cluster.brakes import Ended
from raysys.cluster.caps import check_caps, run_caps
from raysys.cluster.early_stopping import plan_stopping
from raysys.cluster.final import crash_recorded
from raysys.cluster.lock import run_lock
from raysys.cluster.machine import Machine, check_address, claim
from raysys.cluster.plan import check_space
from raysys.cluster.search_plan import Search
from raysys.cluster.session import Session
from raysys.cluster.warm_start import earlier_trials
from raysys.data.datasets import Dataset
from raysys.errors import CorruptRunError, ResumeError, UsageError
from raysys.records import TrialRecord, TrialStatus
from raysys.space.load import apply_overrides, from_json, to_json
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import NO_SAMPLER, Manifest, RunState, read_manifest, write_manifest
from raysys.store.reader import read_run
from raysys.store.warm_start import keep_earlier
from raysys.teacher.journal import read_accounts


def start_run(
    layout: RunLayout,
    space: Space,
    machine: Machine,
    search: Search,
    say: Callable[[str], None],
) -> Ended:
    """A new run. Raises UsageError before anything is written when it cannot be."""
    task = check_space(space)
    scheduler, milestones = plan_stopping(space, search.scheduler)
    earlier = earlier_trials(space, search.warm_start, say)
    problems.check_networks(space, task)
    dataset = problems.read_dataset(space, task, machine.data_root)
    problems.check_teacher(space, dataset)
    caps = run_caps(space, search.max_queries, search.max_cost)
    check_caps(caps, space, problems.held_out_queries(space, dataset))
    check_address(machine.address)
    claim(layout)
    say(f"run {layout.root}")
    if few := problems.few_held_out(space, dataset):
        say(few)
    manifest = problems.new_manifest(
        space,
        dataset,
        machine.data_root,
        name=layout.root.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=search.seed,
        sampler=search.sampler,
        trials=space.trials,
        caps=caps,
        preset=search.preset,
    )
    manifest = manifest.model_copy(
        update={
            "scheduler": scheduler,
            "milestones": milestones,
            "seeds": search.seeds,
            "warm_start": tuple(map(str, search.warm_start)),
        }
    )
    if earlier:
        keep_earlier(layout, earlier)
    write_manifest(layout, manifest)
    with run_lock(layout, say), crash_recorded(layout):
        session = Session(layout, manifest, space, dataset, machine, say)
        return session.go(session.prepare(), [])


def resume_run(
    layout: RunLayout,
    machine: Machine,
    *,
    own_data_root: bool,
    teacher_url: str | None,
    max_queries: int | None,
    max_cost: float | None,
    extend: int,
    retry_failed: bool,
    trust_program: bool,
    say: Callable[[str], None],
) -> Ended:
    """Go on with a run after any stop, with `own_data_root` where it found its data before.

    `teacher_url` is where its teacher's server is now, if it moved; `max_queries` and `max_cost` replace the
    run's caps, where given. Raises ResumeError when it cannot be.
    """
    check_address(machine.address)
    _read(layout)  # before the lock, which makes a file: nothing is written into a folder that is no run
    with run_lock(layout, say):
        manifest, records = _read(layout)
        space, dataset = _same_problem(layout, manifest, machine, own_data_root, trust_program)
        if teacher_url is not None:
            space = _moved(space, teacher_url)
            manifest = manifest.model_copy(update={"space": to_json(space)})
        manifest = manifest.model_copy(
            update={"caps": {**manifest.caps, **run_caps(space, max_queries, max_cost)}}
        )
        if retry_failed:
            records = [_reopened(record) for record in records]
        manifest = manifest.model_copy(update={"trials": manifest.trials + extend, "state": RunState.RUNNING})
        _say_plan(manifest, records, say)
        session = Session(layout, manifest, space, dataset, machine, say)
        problem = session.prepare()  # what cannot go on leaves the run as it is
        with crash_recorded(layout):
            return session.go(problem, records)


def _read(layout: RunLayout) -> tuple[Manifest, list[TrialRecord]]:
    """What a resume needs to know. Raises ResumeError when the run or its ledger cannot be read."""
    try:
        read_accounts(layout.ledger, layout.filesystem)
        manifest, records = read_manifest(layout), read_run(layout).records()
    except CorruptRunError as error:
        raise ResumeError(f"cannot resume: {error.what}", error.why, error.hint) from error
    if manifest.sampler == NO_SAMPLER:
        raise ResumeError(
            f"cannot resume {layout.root}: it is a single trial",
            "raysys trial makes a trial as a whole",
            f"repeat it, in a run of its own: raysys trial --from {layout.root}:{records[0].uid}"
            if records
            else "make it again: raysys trial",
        )
    return manifest, records


def _same_problem(
    layout: RunLayout, manifest: Manifest, machine: Machine, own_data_root: bool, trust_program: bool
) -> tuple[Space, Dataset]:
    """The space and the data set that the run began with. Raises ResumeError when the data changed."""
    space = from_json(manifest.space, trust_program)
    if space.teacher.program is not None and not space.teacher.trusted:
        raise ResumeError(
            f"cannot resume {layout.root}: its teacher is a program, which may run any code",
            "a run folder cannot vouch for itself",
            "if the run is your own: --trust-program",
        )
    if own_data_root:
        machine = replace(machine, data_root=Path(manifest.dataset["root"]))
    dataset = problems.read_dataset(space, check_space(space), machine.data_root)
    if dataset.sha256 != manifest.dataset["sha256"]:
        raise ResumeError(
            f"cannot resume {layout.root}: the data set changed",
            f"the run began with {manifest.dataset['name']} {manifest.dataset['sha256'][:12]},"
            f" {machine.data_root} has {dataset.name} {dataset.sha256[:12]}",
            "name the folder it began with: --data-root DIR",
        )
    return space, dataset


def _moved(space: Space, teacher_url: str) -> Space:
    if space.teacher.http is None:
        raise UsageError(
            "--teacher-url cannot be used: the run's teacher is not behind HTTP",
            "a resumed run keeps its teacher",
            "leave it out",
        )
    return apply_overrides(space, {"teacher.http.url": teacher_url}, source="--teacher-url")


def _reopened(record: TrialRecord) -> TrialRecord:
    failed = record.status is TrialStatus.FAILED
    return replace(record, status=TrialStatus.INTERRUPTED, error="") if failed else record


def _say_plan(manifest: Manifest, records: list[TrialRecord], say: Callable[[str], None]) -> None:
    kept = sum(record.status.ended for record in records)
    again = [record for record in records if not record.status.ended]
    spent = sum(record.queries for record in records)
    say(
        f"resuming: {kept} trials are kept, {len(again)} go on from their checkpoints,"
        f" {max(0, manifest.trials - kept - len(again))} are still to start;"
        f" their reports tell of {spent:,} queries"
    )
