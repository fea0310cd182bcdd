"""The end of a run: what it delivers is tested once, other students are pruned, the manifest says so."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from raysys.cluster.run_book import RunBook
from raysys.distill.evaluation import evaluate
from raysys.errors import RaysysError
from raysys.fronts.front import front_of_records
from raysys.models.classifiers import build_classifier
from raysys.models.weights import load_safetensors
from raysys.records import EvalSet, Task, TrialRecord, TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest, RunState, read_manifest, write_manifest
from raysys.teacher.journal import read_accounts


def finish(
    layout: RunLayout, manifest: Manifest, book: RunBook, task: Task, test: EvalSet, state: RunState
) -> None:
    """Write down how the run ended. An interrupted run is not tested: its front is not final yet."""
    if state is not RunState.INTERRUPTED:
        kept = delivered(book, manifest)
        book.tested({r.uid: test_student(layout, r, task, test) for r in kept if r.test_agreement is None})
        _prune(layout, book, {record.uid for record in kept})
    accounts = read_accounts(layout.ledger, layout.filesystem).values()
    update = {
        "state": state,
        "charged": sum(account.charged for account in accounts),
        "executed": sum(account.executed for account in accounts),
    }
    write_manifest(layout, manifest.model_copy(update=update))


@contextmanager
def crash_recorded(layout: RunLayout) -> Iterator[None]:
    """Whatever ends a run by force, its manifest does not go on saying `running`."""
    try:
        yield
    except BaseException as failure:
        state = RunState.INTERRUPTED if isinstance(failure, KeyboardInterrupt) else RunState.FAILED
        with suppress(RaysysError):  # a full disk has been told of already
            write_manifest(layout, read_manifest(layout).model_copy(update={"state": state}))
        raise


def delivered(book: RunBook, manifest: Manifest) -> list[TrialRecord]:
    """The trials on the final front, by rising queries.

    Where nothing is searched, trials are seeds of one config: all finished ones, for their mean and spread.
    """
    rows = list(book.records.values())
    if not manifest.space["parameters"]:
        return [record for record in rows if record.status is TrialStatus.FINISHED]
    front = front_of_records(rows, manifest.score, manifest.reference)
    return [rows[index] for index in front.members]


def test_student(
    layout: RunLayout, record: TrialRecord, task: Task, test: EvalSet
) -> tuple[float | None, float]:
    """Accuracy on test, where it has labels, and agreement of a saved student."""
    student = build_classifier(record.config.student, task, seed=0)
    load_safetensors(student, layout.students(record.uid) / "weights.safetensors")
    return evaluate(student.eval(), test)


def _prune(layout: RunLayout, book: RunBook, kept: set[str]) -> None:
    """Keep the students that are delivered, and the checkpoints of trials that may yet go on."""
    for uid, record in book.records.items():
        if record.status.ended and uid not in kept:
            shutil.rmtree(layout.students(uid), ignore_errors=True)
        if record.status in (TrialStatus.FINISHED, TrialStatus.STOPPED):
            shutil.rmtree(layout.checkpoints(uid), ignore_errors=True)
