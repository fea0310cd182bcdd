"""What must be as when a run began, or it cannot be resumed: each check names the file to restore."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from raysys.cluster import problem as problems
from raysys.cluster.ledger_evidence import of_ledger
from raysys.cluster.machine import Machine
from raysys.cluster.plan import check_space
from raysys.cluster.problem import Problem
from raysys.data.datasets import Dataset
from raysys.distill.trial import Position
from raysys.errors import ResumeError, UsageError
from raysys.records import EVALUATION, TrialRecord
from raysys.search.study_searcher import trial_uid
from raysys.seeding import trial_seed
from raysys.space.difference import difference
from raysys.space.load import digest_of, from_json, to_json
from raysys.space.schema import Space
from raysys.store.audit import audit
from raysys.store.layout import RunLayout
from raysys.store.manifest import NO_SAMPLER, Manifest
from raysys.store.reader import Snapshot, trials_of
from raysys.teacher.ledger import Ledger


def check_kind(layout: RunLayout, manifest: Manifest, records: Sequence[TrialRecord]) -> None:
    """The run is a search, not a single trial."""
    if manifest.sampler == NO_SAMPLER:
        raise ResumeError(
            f"cannot resume {layout.location}: it is a single trial",
            "raysys trial makes a trial as a whole",
            f"repeat it, in a run of its own: raysys trial --from {layout.location}:{records[0].uid}"
            if records
            else "make it again: raysys trial",
        )


def same_space(layout: RunLayout, manifest: Manifest, told: Space | None, trust_program: bool) -> Space:
    """The space that the run began with, which must be the one that is `told`, if any."""
    space = from_json(manifest.space, trust_program)
    if space.teacher.http is None and digest_of(manifest.space) != manifest.space_digest:  # a URL may move
        raise ResumeError(
            f"cannot resume {layout.location}: its space is not the one that it began with",
            f"run.json names {manifest.space_digest[:12]}, it holds {digest_of(manifest.space)[:12]}",
            f"restore {layout.run_json} from a backup",
        )
    if told is not None and (changes := difference(manifest.space, to_json(told))):
        raise ResumeError(
            f"cannot resume {layout.location}: the search space changed",
            "\n  ".join(changes),
            "start a new run, or leave out --space: the run keeps its own",
        )
    if space.teacher.program is not None and not space.teacher.trusted:
        raise ResumeError(
            f"cannot resume {layout.location}: its teacher is a program, which may run any code",
            "a run folder cannot vouch for itself",
            "if the run is your own: --trust-program",
        )
    return space


def same_data(
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


def check_records(layout: RunLayout, manifest: Manifest, records: Sequence[TrialRecord]) -> None:
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


def check_ledger(
    layout: RunLayout, snapshot: Snapshot, ledger: Ledger, positions: Mapping[str, Position], held_out: int
) -> None:
    """Nothing was charged that the tables do not know of, and they tell of nothing that was not charged.

    The ledger must be read after the tables: where a run goes on meanwhile, reports follow their charges.
    """
    accounts = ledger.accounts()
    known = {*snapshot.trials["uid"].to_pylist(), EVALUATION}
    if strangers := accounts.keys() - known:  # or trials that began after the tables were read
        strangers -= set(trials_of(layout).read().table["uid"].to_pylist())
    checkpoints = {uid: (at.requests, at.queries) for uid, at in positions.items()}
    evidence = of_ledger(ledger, known | strangers, checkpoints)
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


def same_teacher(
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
