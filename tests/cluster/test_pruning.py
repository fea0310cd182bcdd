"""What is left on disk of trials that ended."""

from pathlib import Path

from edge_runs import trial

from raysys.cluster.pruning import Pruner
from raysys.records import TrialRecord, TrialStatus
from raysys.store.layout import RunLayout


def files(layout: RunLayout, records: list[TrialRecord]) -> list[str]:
    """Which of the trials have a student, and which a checkpoint, by their last digit."""
    return [
        "".join(one.uid[-1] for one in records if folder(one.uid).exists())
        for folder in (layout.students, layout.checkpoints)
    ]


def fill(layout: RunLayout, records: list[TrialRecord]) -> None:
    for one in records:
        for folder in (layout.students(one.uid), layout.checkpoints(one.uid) / "pairs"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "file").write_text("x")


def test_ended_trials_keep_the_students_in_play_and_only_failed_ones_a_checkpoint(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    records = [
        *(trial(n) for n in (0, 1)),
        trial(2, TrialStatus.STOPPED),
        trial(3, TrialStatus.FAILED),
        trial(4, TrialStatus.RUNNING),
        trial(5, TrialStatus.INTERRUPTED),
    ]
    fill(layout, records)
    pruner = Pruner(layout)
    pruner.prune(records, {"u00000"})
    assert files(layout, records) == ["045", "345"]
    pruner.prune(records, set())
    assert files(layout, records) == ["45", "345"]
    fill(layout, records[1:3])  # a worker that was not quite done
    Pruner(layout).prune(records, set())
    assert files(layout, records) == ["45", "345"]
