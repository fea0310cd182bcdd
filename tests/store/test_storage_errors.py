"""A storage that cannot be read now is told as such: nothing is taken for damaged or missing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edge_runs import manifest, trial, write_run

from raysys.errors import CorruptRunError, StorageError
from raysys.models.weights import read_safetensors
from raysys.oracle import Response
from raysys.store.layout import RunLayout
from raysys.store.manifest import newest_manifest, write_manifest
from raysys.store.pairs import has_pairs, join_parts, keep_part
from raysys.store.reader import last_change, read_run, trials_of
from raysys.store.warm_start import keep_earlier, read_earlier


def unreadable(path: Path) -> Path:
    """A folder where a file was: the system opens it as little as one that it has no right to."""
    path.unlink()
    path.mkdir()
    return path


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return write_run(tmp_path / "run", [trial(0), trial(1)], merged=False)


def test_a_part_that_cannot_be_read_is_not_damaged(layout: RunLayout) -> None:
    part = unreadable(sorted(layout.trials.iterdir())[0])
    with pytest.raises(StorageError, match=f"cannot read {part}"):
        read_run(layout)
    with pytest.raises(StorageError, match=f"cannot read {part}"):
        trials_of(layout).merge(lambda table: table)
    assert len(list(layout.trials.iterdir())) == 2, "nothing was merged without its rows"


def test_nothing_stands_in_for_a_manifest_that_cannot_be_read(layout: RunLayout) -> None:
    write_manifest(layout, manifest(seed=5))
    before = layout.previous_run_json.read_bytes()
    unreadable(layout.run_json)
    with pytest.raises(StorageError, match=r"cannot read .*run\.json"):
        newest_manifest(layout)
    with pytest.raises(StorageError, match=r"cannot read .*run\.json"):
        write_manifest(layout, manifest(seed=6))  # which generation it is would be a guess
    assert layout.previous_run_json.read_bytes() == before


def test_what_cannot_be_listed_is_told(layout: RunLayout) -> None:
    for part in layout.reports.iterdir():
        part.unlink()
    layout.reports.rmdir()
    layout.reports.write_text("no folder")
    looks: list[Callable[[RunLayout], object]] = [read_run, last_change]
    for look in looks:
        with pytest.raises(StorageError, match=f"cannot list {layout.reports}"):
            look(layout)


def test_pairs_are_joined_later_where_they_cannot_be_read_now(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    images = np.zeros((2, 1, 2, 2), np.uint8)
    for first in (0, 2):
        keep_part(layout, "u00000", first, images, Response(np.zeros(2, np.int64)))
    parts = sorted((layout.checkpoints("u00000") / "pairs").iterdir())
    unreadable(parts[1])
    with pytest.raises(StorageError, match="cannot read"):
        join_parts(layout, "u00000")
    assert parts[0].exists() and not has_pairs(layout, "u00000")


def test_weights_and_earlier_trials_that_cannot_be_read_are_not_lost(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    keep_earlier(layout, [])
    unreadable(layout.warm_start)
    with pytest.raises(StorageError, match=r"cannot read .*warm_start\.parquet"):
        read_earlier(layout)
    with pytest.raises(StorageError, match="cannot read"):
        read_safetensors(layout.warm_start)


def test_earlier_trials_that_are_not_those_that_were_kept_are_refused(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    sha256 = keep_earlier(layout, [trial(1)])
    assert read_earlier(layout, sha256) == [trial(1)]
    keep_earlier(layout, [trial(2)])
    with pytest.raises(CorruptRunError, match=f"its sha256 was {sha256[:12]}, now it is"):
        read_earlier(layout, sha256)
