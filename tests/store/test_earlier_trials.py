"""The trials of earlier runs that are kept in a run."""

from dataclasses import replace
from pathlib import Path

import pytest
from edge_runs import replicate, trial
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from raysys.errors import CorruptRunError
from raysys.store.layout import RunLayout
from raysys.store.warm_start import keep_earlier, read_earlier


@pytest.mark.parametrize("local", [True, False], ids=["local folder", "other filesystem"])
def test_they_come_back_in_their_order_also_where_two_runs_have_the_same_uids(
    tmp_path: Path, local: bool
) -> None:
    remote = SubTreeFileSystem(str(tmp_path), LocalFileSystem())
    layout = RunLayout.open(tmp_path) if local else RunLayout(Path("run"), remote)
    records = [trial(1), replicate(0, of=1), replace(trial(1), queries=7, val_accuracy=None, agreement=0.5)]
    keep_earlier(layout, records)
    assert read_earlier(layout) == records


def test_a_run_that_began_with_none_has_no_file(tmp_path: Path) -> None:
    layout = RunLayout.open(tmp_path)
    keep_earlier(layout, [])
    assert not layout.warm_start.exists()
    assert read_earlier(layout) == []


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    layout = RunLayout.open(tmp_path)
    keep_earlier(layout, [trial(0)])
    layout.warm_start.write_bytes(layout.warm_start.read_bytes()[:100])
    with pytest.raises(CorruptRunError, match=r"cannot read .*warm_start\.parquet"):
        read_earlier(layout)
