from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from edge_runs import config, manifest, report
from ray.tune.trainable.metadata import _TrainingRunMetadata

from raysys.cluster.callbacks import Recorder
from raysys.cluster.run_book import RunBook
from raysys.records import TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.manifest import write_manifest
from raysys.store.writer import RunWriter

TRIAL: Any = SimpleNamespace(
    config={"uid": "u00000"}, error_file=None, run_metadata=_TrainingRunMetadata(n_steps=[5, 10])
)


@pytest.fixture
def book(tmp_path: Path) -> RunBook:
    layout = RunLayout(tmp_path)
    write_manifest(layout, manifest(trials=1))
    made = RunBook(RunWriter(layout), [], lambda: 0.0)
    made.suggested(config(0))
    return made


def result(**last: Any) -> dict[str, Any]:
    return {"uid": "u00000", "reports": [vars(report(0, 0))], **last}


def test_a_worker_that_dies_after_its_trials_end_takes_nothing_back(book: RunBook) -> None:
    recorder = Recorder(book, lambda: None, lambda uid: None, {})
    recorder.on_trial_start(0, [TRIAL], TRIAL)
    last = result(reports=[vars(report(0, 2))], status="finished", note="one class", weights_sha256="ab")
    recorder.on_trial_result(1, [TRIAL], TRIAL, last)
    recorder.on_trial_start(2, [TRIAL], TRIAL)
    assert book.records["u00000"].status is TrialStatus.FINISHED
    recorder.on_trial_result(3, [TRIAL], TRIAL, result())
    recorder.on_trial_error(4, [TRIAL], TRIAL)
    assert (book.records["u00000"].status, book.records["u00000"].error) == (
        TrialStatus.FINISHED,
        "one class",
    )
    assert (book.records["u00000"].weights_sha256, book.records["u00000"].queries) == ("ab", 300)


def test_a_trial_that_never_ended_fails_with_its_worker(book: RunBook) -> None:
    recorder = Recorder(book, lambda: None, lambda uid: None, {})
    recorder.on_trial_start(0, [TRIAL], TRIAL)
    recorder.on_trial_result(1, [TRIAL], TRIAL, result())
    recorder.on_trial_error(2, [TRIAL], TRIAL)
    assert book.records["u00000"].status is TrialStatus.FAILED
    assert "worker died" in book.records["u00000"].error


def test_trouble_that_is_not_the_trials_ends_the_run_and_leaves_the_trial_to_a_resume(book: RunBook) -> None:
    recorder = Recorder(book, lambda: None, lambda uid: None, {})
    recorder.on_trial_start(0, [TRIAL], TRIAL)
    trouble = {"uid": "u00000", "reports": [], "status": "interrupted", "error": "no teacher", "exit_code": 6}
    recorder.on_trial_result(1, [TRIAL], TRIAL, trouble)
    recorder.on_trial_error(2, [TRIAL], TRIAL)
    assert (book.trouble, book.trouble_code) == ("no teacher", 6)
    assert book.records["u00000"].status is TrialStatus.INTERRUPTED


def test_failures_count_only_while_a_trial_comes_no_further(book: RunBook) -> None:
    recorder = Recorder(book, lambda: None, lambda uid: None, {})

    def lost(*steps: int) -> int:
        """How many failures Tune counts when an attempt told these steps and then lost its worker."""
        recorder.on_trial_start(0, [TRIAL], TRIAL)
        for step in steps:
            recorder.on_trial_result(1, [TRIAL], TRIAL, result(reports=[vars(report(0, step))]))
        TRIAL.run_metadata.num_failures += 1
        return int(TRIAL.run_metadata.num_failures)

    told = [lost(), lost(), lost(0), lost(0), lost(0, 1), lost(1), lost(2), lost(3, 4), lost(), lost(4)]
    assert told == [1, 2, 1, 2, 1, 2, 1, 1, 2, 3]


@pytest.mark.parametrize("event", ["on_trial_complete", "on_trial_error"])
def test_an_ended_trial_gets_no_more_answers(book: RunBook, event: str) -> None:
    ended: list[str] = []
    TRIAL.run_metadata.update_metric("queries", 100)
    recorder = Recorder(book, lambda: None, ended.append, {})
    recorder.on_trial_start(0, [TRIAL], TRIAL)
    recorder.on_trial_result(1, [TRIAL], TRIAL, result())
    assert ended == []
    getattr(recorder, event)(2, [TRIAL], TRIAL)
    assert ended == ["u00000"]
    assert not TRIAL.run_metadata.metric_analysis and not TRIAL.run_metadata.metric_n_steps


def test_a_trial_that_the_scheduler_stopped_ends_with_its_milestone_and_the_reason(book: RunBook) -> None:
    reasons = {"u00000": "stopped at 100 queries: 2nd of 2"}
    recorder = Recorder(book, lambda: None, lambda uid: None, reasons)
    recorder.on_trial_start(0, [TRIAL], TRIAL)
    recorder.on_trial_result(1, [TRIAL], TRIAL, result())
    record = book.records["u00000"]
    assert (record.status, record.error) == (TrialStatus.STOPPED, "stopped at 100 queries: 2nd of 2")
    assert (record.queries, record.val_accuracy) == (100, 0.5)
    recorder.on_trial_error(2, [TRIAL], TRIAL)
    book.interrupt()
    assert book.records["u00000"].status is TrialStatus.STOPPED, "a resume has nothing left to do for it"


def test_what_tune_keeps_of_a_result_is_small(book: RunBook) -> None:
    recorder = Recorder(book, lambda: None, lambda uid: None, {})
    recorder.on_trial_start(0, [TRIAL], TRIAL)
    kept = result(config={"options": {"lr": 0.1}}, val_accuracy=0.5)
    recorder.on_trial_result(1, [TRIAL], TRIAL, kept)
    assert kept == {"uid": "u00000", "reports": [], "val_accuracy": 0.5}
