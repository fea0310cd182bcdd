from pathlib import Path

import pytest
from edge_runs import manifest, trial

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


def test_a_search_delivers_its_front_and_seeds_of_one_config_are_delivered_all(tmp_path: Path) -> None:
    worse = trial(2, val_accuracy=0.7)  # asks more than the others
    records = [trial(0), trial(1), worse, trial(3, TrialStatus.FAILED)]
    with RunWriter(RunLayout.open(tmp_path)) as writer:
        book = RunBook(writer, records, lambda: 0.0)
        searched = manifest(space={"name": "digits", "parameters": {"g_steps": {}}})
        assert [record.uid for record in delivered(book, searched)] == ["u00000", "u00001"]
        fixed = manifest(space={"name": "digits", "parameters": {}})
        assert [record.uid for record in delivered(book, fixed)] == ["u00000", "u00001", "u00002"]
