from pathlib import Path

import pytest
from edge_runs import manifest, replicate, trial

from raysys.cluster.final import crash_recorded, delivered
from raysys.cluster.run_book import RunBook
from raysys.records import TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState, read_manifest, write_manifest
from raysys.store.writer import RunWriter


@pytest.mark.parametrize(
    ("end", "state"), [(RuntimeError("boom"), RunState.FAILED), (KeyboardInterrupt(), RunState.INTERRUPTED)]
)
def test_a_run_that_crashed_does_not_go_on_saying_running(
    tmp_path: Path, end: BaseException, state: RunState
) -> None:
    layout = RunLayout.open(tmp_path)
    write_manifest(layout, manifest(state=RunState.RUNNING))
    with pytest.raises(type(end)), crash_recorded(layout):
        raise end
    assert read_manifest(layout).state is state


def test_a_run_delivers_its_front_with_all_seeds_of_each_point(tmp_path: Path) -> None:
    seeds = [replicate(3, of=1, queries=1000, val_accuracy=0.84), replicate(4, TrialStatus.FAILED, of=1)]
    records = [trial(0), trial(1), trial(2, val_accuracy=0.7), *seeds]  # u00002 asks more and learns less
    with RunWriter(RunLayout.open(tmp_path)) as writer:
        book = RunBook(writer, records, lambda: 0.0)
        assert [record.uid for record in delivered(book, manifest())] == ["u00000", "u00001", "u00003"]
