"""The end of a run: what it delivers is tested once, other students are pruned, the manifest says so."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raysys.cluster.pruning import Pruner
from raysys.cluster.run_book import RunBook
from raysys.distill.evaluation import evaluate
from raysys.errors import CorruptRunError, RaysysError, StorageError, UnreachableError
from raysys.files import file_info
from raysys.fronts.front import final_front
from raysys.models.classifiers import build_classifier
from raysys.models.weights import load_safetensors
from raysys.records import EvalSet, Task, TrialRecord
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest, RunState, read_manifest, write_manifest
from raysys.teacher.journal import read_accounts


def finish(
    layout: RunLayout, manifest: Manifest, book: RunBook, task: Task, test: EvalSet, state: RunState
) -> None:
    """Write down how the run ended. An interrupted run is not tested: its front is not final yet."""
    if state is not RunState.INTERRUPTED:
        kept = delivered(book, manifest)
        new = [record for record in kept if record.test_agreement is None and _is_kept(layout, record)]
        book.tested({record.uid: test_student(layout, record, task, test) for record in new})
        Pruner(layout).prune(book.records.values(), {record.uid for record in kept})
    _write_end(layout, manifest, state)


def _write_end(layout: RunLayout, manifest: Manifest, state: RunState) -> None:
    accounts = read_accounts(layout.ledger, layout.filesystem).values()
    update = {
        "state": state,
        "charged": sum(account.charged for account in accounts),
        "executed": sum(account.executed for account in accounts),
    }
    write_manifest(layout, manifest.model_copy(update=update))


def end_by_force(layout: RunLayout, state: RunState) -> None:
    """Write down that the run has ended without its driver's doing. Raises StorageError."""
    _write_end(layout, read_manifest(layout), state)


@contextmanager
def crash_recorded(layout: RunLayout) -> Iterator[None]:
    """Whatever ends a run by force, its manifest does not go on saying `running`.

    A storage at a URI that cannot be read or written any more raises UnreachableError.
    """
    try:
        yield
    except BaseException as failure:
        state = RunState.INTERRUPTED if isinstance(failure, KeyboardInterrupt) else RunState.FAILED
        with suppress(RaysysError):  # a full disk has been told of already
            end_by_force(layout, state)
        if layout.uri and isinstance(failure, StorageError) and not isinstance(failure, CorruptRunError):
            raise UnreachableError(
                failure.what, failure.why, "is the storage there? then resume"
            ) from failure
        raise


def delivered(book: RunBook, manifest: Manifest) -> list[TrialRecord]:
    """The trials on the final front, all seeds of each point, by rising queries."""
    rows = list(book.records.values())
    return [rows[row] for row in final_front(rows, manifest.goal).rows()]


def test_student(
    layout: RunLayout, record: TrialRecord, task: Task, test: EvalSet
) -> tuple[float | None, float]:
    """Accuracy on test, where it has labels, and agreement of a saved student."""
    student = build_classifier(record.config.student, task, seed=0)
    load_safetensors(student, _weights(layout, record), layout.filesystem)
    return evaluate(student.eval(), test)


def _is_kept(layout: RunLayout, record: TrialRecord) -> bool:
    """False where a later seed brought a config back to the front after its student was removed."""
    return bool(file_info(layout.filesystem, _weights(layout, record)).is_file)


def _weights(layout: RunLayout, record: TrialRecord) -> Path:
    return layout.students(record.uid) / "weights.safetensors"
