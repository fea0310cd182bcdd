from pathlib import Path

import pytest
from edge_runs import manifest

from raysys.cluster.final import crash_recorded
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState, read_manifest, write_manifest


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
