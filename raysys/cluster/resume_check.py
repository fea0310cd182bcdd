"""Whether a run can be resumed, and what that will do: every file that counts is read, none is written."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from raysys.cluster import problem as problems
from raysys.cluster.caps import run_caps
from raysys.cluster.code import changed_code, versions
from raysys.cluster.early_stopping import query_budget
from raysys.cluster.machine import Machine
from raysys.cluster.plan import check_space
from raysys.cluster.problem import Problem
from raysys.cluster.resume_plan import GoesOn, ResumePlan, lost_reports
from raysys.cluster.trial_files import TrialFiles
from raysys.data.datasets import Dataset
from raysys.distill.trial import Position
from raysys.errors import CorruptRunError, ResumeError, StorageError, UsageError
from raysys.files import read_bytes
from raysys.fronts.front import final_front
from raysys.models.classifiers import build_classifier
from raysys.models.weights import load_safetensors, state_sha256
from raysys.records import EVALUATION, Account, Task, TrialRecord, TrialStatus
from raysys.search.study_searcher import trial_uid
from raysys.seeding import trial_seed
from raysys.source import source_sha256
from raysys.space.difference import difference
from raysys.space.load import apply_overrides, digest_of, from_json, to_json
from raysys.space.schema import Space
from raysys.store.audit import Evidence, audit
from raysys.store.layout import RunLayout
from raysys.store.manifest import NO_SAMPLER, Manifest, RunState, newest_manifest
from raysys.store.reader import Snapshot, read_run
from raysys.store.warm_start import read_earlier
from raysys.teacher.journal import read_ledger
from raysys.teacher.ledger import Ledger


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
    ledger = read_ledger(layout.ledger, layout.filesystem)
    snapshot = read_run(layout)
    records = sorted(snapshot.records(), key=lambda record: record.uid)
    _check_kind(layout, manifest, records)
    space = _same_space(layout, manifest, wish)
    dataset = _same_data(layout, manifest, space, machine, wish.own_data_root)
    _check_records(layout, manifest, records)
    positions, damaged = _saved(layout, records)
    _check_ledger(layout, snapshot, ledger, positions, problems.held_out_queries(space, dataset))
    earlier = _earlier(layout, manifest)
    if wish.teacher_url is not None:
        space = _moved(space, wish.teacher_url)
    accounts = ledger.accounts()
    problem = _same_teacher(layout, manifest, space, dataset, bool(accounts))
    caps = {**manifest.caps, **run_caps(space, wish.max_queries, wish.max_cost)}
    resumed = manifest.model_copy(
        update={
            "space": to_json(space),
            "caps": caps,
            "trials": manifest.trials + wish.extend,
            "state": RunState.RUNNING,
        }
    )
    if wish.retry_failed:
        records = [_reopened(one) if one.status is TrialStatus.FAILED else one for one in records]
    again = _to_do_again(layout, snapshot, records, dataset.task, manifest)
    records = [_reopened(one) if one.uid in again else one for one in records]
    goes_on = [one for one in records if not one.status.ended and one.uid not in again]
    ended = [one.status for one in records if one.status.ended]
    plan = ResumePlan(
        run=layout.location,
        kept={status.value: ended.count(status) for status in TrialStatus if status in ended},
        goes_on=[_going_on(one, positions.get(one.uid), accounts) for one in goes_on],
        again=again,
        to_start=max(0, resumed.trials - len(records)),
        charged=sum(account.charged for account in accounts.values()),
        executed=sum(account.executed for account in accounts.values()),
        price=manifest.price,
        caps=caps,
        search=len(records),
        earlier=earlier,
        milestones=sum(snapshot.reports["milestone"].to_pylist()) if manifest.milestones else 0,
        fallbacks=[*([instead] if instead else []), *_fallbacks(layout, snapshot), *damaged],
        changed=[*changed_code(manifest, source_sha256(), versions()), *_wishes(manifest, resumed, wish)],
    )
    return Resumable(plan, resumed, records, space, dataset, problem)


def _check_kind(layout: RunLayout, manifest: Manifest, records: Sequence[TrialRecord]) -> None:
    if manifest.sampler == NO_SAMPLER:
        raise ResumeError(
            f"cannot resume {layout.location}: it is a single trial",
            "raysys trial makes a trial as a whole",
            f"repeat it, in a run of its own: raysys trial --from {layout.location}:{records[0].uid}"
            if records
            else "make it again: raysys trial",
        )


def _same_space(layout: RunLayout, manifest: Manifest, wish: Wish) -> Space:
    """The space that the run began with."""
    space = from_json(manifest.space, wish.trust_program)
    if space.teacher.http is None and digest_of(manifest.space) != manifest.space_digest:  # a URL may move
        raise ResumeError(
            f"cannot resume {layout.location}: its space is not the one that it began with",
            f"run.json names {manifest.space_digest[:12]}, it holds {digest_of(manifest.space)[:12]}",
            f"restore {layout.run_json} from a backup",
        )
    if wish.space is not None and (told := difference(manifest.space, to_json(wish.space))):
        raise ResumeError(
            f"cannot resume {layout.location}: the search space changed",
            "\n  ".join(told),
            "start a new run, or leave out --space: the run keeps its own",
        )
    if space.teacher.program is not None and not space.teacher.trusted:
        raise ResumeError(
            f"cannot resume {layout.location}: its teacher is a program, which may run any code",
            "a run folder cannot vouch for itself",
            "if the run is your own: --trust-program",
        )
    return space


def _same_data(
    layout: RunLayout, manifest: Manifest, space: Space, machine: Machine, own_data_root: bool
) -> Dataset:
    """The data set that the run began with."""
    root = Path(manifest.dataset["root"]) if own_data_root else machine.data_root
    dataset = problems.read_dataset(space, check_space(space), root)
    if dataset.sha256 != manifest.dataset["sha256"]:
        raise ResumeError(
            f"cannot resume {layout.location}: the data set changed",
            f"the run began with {manifest.dataset['name']} {manifest.dataset['sha256'][:12]},"
            f" {root} has {dataset.name} {dataset.sha256[:12]}",
            "name the folder it began with: --data-root DIR",
        )
    return dataset


def _check_records(layout: RunLayout, manifest: Manifest, records: Sequence[TrialRecord]) -> None:
    """The trials are 0, 1, 2, ... of this run, or the search cannot be rebuilt."""
    for number, record in enumerate(records):
        if record.uid != trial_uid(number):
            raise ResumeError(
                f"cannot resume {layout.location}: the row of trial {trial_uid(number)} is lost",
                f"the next one is {record.uid}: the search cannot be rebuilt",
                f"restore {layout.trials} from a backup",
            )
        if record.config.seed != trial_seed(manifest.seed, number):
            raise ResumeError(
                f"cannot resume {layout.location}: run.json and the trials are of different runs",
                f"{record.uid} has a seed that the run's seed {manifest.seed} does not give it",
                f"restore {layout.run_json} or {layout.trials} from a backup",
            )


def _saved(layout: RunLayout, records: Sequence[TrialRecord]) -> tuple[dict[str, Position], list[str]]:
    """Where the saved states of trials stand, and which ones are damaged. Raises CorruptRunError."""
    positions, damaged = {}, []
    for record in records:
        files = TrialFiles(layout, record.uid)
        if (position := files.position()) is not None:
            positions[record.uid] = position
        for name in files.newest()[1]:
            instead = "the one before it" if position else "the ledger's answers"
            path = layout.checkpoints(record.uid).relative_to(layout.root) / name
            damaged.append(f"{path} is damaged: {instead} stands in for it")
    return positions, damaged


def _check_ledger(
    layout: RunLayout, snapshot: Snapshot, ledger: Ledger, positions: Mapping[str, Position], held_out: int
) -> None:
    """Nothing was charged that the tables do not know of, and they tell of nothing that was not charged."""
    accounts = ledger.accounts()
    evidence = Evidence(
        accounts,
        frozenset(accounts),
        {uid: {number: key.images for number, key in ledger.charges(uid).items()} for uid in accounts},
        {uid: again for uid in accounts if (again := ledger.asked_again(uid))},
        {uid: (position.requests, position.queries) for uid, position in positions.items()},
    )
    # A cap that was lowered below what is spent already holds nobody up: it may be raised again.
    uncapped = replace(snapshot, manifest=snapshot.manifest.model_copy(update={"caps": {}}))
    mismatches = list(audit(uncapped, evidence).mismatches)
    asked = accounts[EVALUATION].charged if EVALUATION in accounts else 0
    if snapshot.trials.num_rows and asked != held_out:
        mismatches.insert(
            0, f"{held_out} held-out images were asked before any trial, the ledger has {asked}"
        )
    if mismatches:
        more = [f"and {len(mismatches) - 3} more: raysys audit tells all"] if len(mismatches) > 3 else []
        raise ResumeError(
            f"cannot resume {layout.location}: its ledger and its trials do not fit together",
            "\n  ".join([*mismatches[:3], *more]),
            f"one of them was lost, cut or changed: restore {layout.ledger} or {layout.trials} from a backup;"
            " nothing was asked or written",
        )


def _earlier(layout: RunLayout, manifest: Manifest) -> int:
    """How many trials of earlier runs the search began with."""
    if not manifest.warm_start:
        return 0
    kept = read_earlier(layout)
    found = hashlib.sha256(read_bytes(layout.filesystem, layout.warm_start) or b"").hexdigest()
    if manifest.warm_start_sha256 not in ("", found):
        raise ResumeError(
            f"cannot resume {layout.location}: {layout.warm_start} is another file than at the start",
            f"its sha256 was {manifest.warm_start_sha256[:12]}, now it is {found[:12]}",
            "restore the file from a backup",
        )
    return len(kept)


def _moved(space: Space, teacher_url: str) -> Space:
    if space.teacher.http is None:
        raise UsageError(
            "--teacher-url cannot be used: the run's teacher is not behind HTTP",
            "a resumed run keeps its teacher",
            "leave it out",
        )
    return apply_overrides(space, {"teacher.http.url": teacher_url}, source="--teacher-url")


def _same_teacher(
    layout: RunLayout, manifest: Manifest, space: Space, dataset: Dataset, asked: bool
) -> Problem | None:
    """The teacher that the run began with, None where it had none yet."""
    card = manifest.teacher
    if card is None and not asked:
        return None
    restore = f"restore {layout.teacher}, or the server's model, or start a new run"
    if card is None:
        raise ResumeError(
            f"cannot resume {layout.location}: its teacher was asked, but run.json does not name it",
            hint=restore,
        )
    problem = problems.reopen(space, dataset, layout, card, manifest.id)
    try:
        found = problem.teacher.sha256()
    except UsageError as error:
        raise ResumeError(
            f"cannot resume {layout.location}: {error.what}",
            error.why,
            f"restore {layout.teacher} from a backup",
        ) from error
    if found != card.sha256:
        raise ResumeError(
            f"cannot resume {layout.location}: the teacher changed",
            f"the run began with {card.sha256[:12]}, now it is {found[:12]}",
            restore,
        )
    return problem


def _to_do_again(
    layout: RunLayout, snapshot: Snapshot, records: Sequence[TrialRecord], task: Task, manifest: Manifest
) -> dict[str, str]:
    """By uid, why trials that ended are made again: what is lost of them, the ledger can give back."""
    steps: dict[str, list[tuple[int, int]]] = {}
    for row in snapshot.reports.select(["uid", "step", "queries"]).to_pylist():
        steps.setdefault(row["uid"], []).append((row["step"], row["queries"]))
    ended = [record for record in records if record.status.ended]
    again = {record.uid: why for record in ended if (why := lost_reports(record, steps.get(record.uid, [])))}
    for row in final_front(records, manifest.goal).rows():
        if why := _lost_student(layout, records[row], task):
            again[records[row].uid] = why
    return dict(sorted(again.items()))


def _lost_student(layout: RunLayout, record: TrialRecord, task: Task) -> str:
    """Why the student of a trial on the front cannot be delivered; empty when it can."""
    folder = layout.students(record.uid)
    student = build_classifier(record.config.student, task, seed=0)
    try:
        load_safetensors(student, folder / "weights.safetensors", layout.filesystem)
        config = json.loads(read_bytes(layout.filesystem, folder / "config.json") or b"")
    except (UsageError, StorageError, ValueError):
        return "its student is missing or damaged"
    if record.weights_sha256 not in ("", state_sha256(student)):
        return "its student's weights are not those that its row names"
    wanted = {**asdict(record.config), "milestones": config.get("milestones")}
    return "" if config == wanted else "its student's config.json is not its config"


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


def _fallbacks(layout: RunLayout, snapshot: Snapshot) -> list[str]:
    names = [Path(path).relative_to(layout.root).as_posix() for path in snapshot.damaged]
    lost = f"; {snapshot.skipped} part(s) are lost: what needs them is done again" if snapshot.skipped else ""
    if not names:
        return [lost.removeprefix("; ")] if lost else []
    return [f"{', '.join(names)} cannot be read" + (lost or ": the parts that were merged into it are")]


def _wishes(manifest: Manifest, resumed: Manifest, wish: Wish) -> list[str]:
    found = [f"--extend {wish.extend}: {resumed.trials} trials in all"] if wish.extend else []
    found += ["--retry-failed: failed trials go on"] if wish.retry_failed else []
    found += [f"the teacher's server is at {wish.teacher_url}"] if wish.teacher_url else []
    return found + [
        f"the run's cap on {name} is {cap:,g}" + (f", was {before:,g}" if before is not None else "")
        for name, cap in resumed.caps.items()
        if (before := manifest.caps.get(name)) != cap
    ]
