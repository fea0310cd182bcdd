from pathlib import Path

import pytest
from edge_runs import trial

from raysys.errors import CorruptRunError
from raysys.store.layout import RunLayout
from raysys.store.warm_start import keep_earlier, read_earlier


def test_earlier_trials_come_back_in_their_order(tmp_path: Path) -> None:
    earlier = [trial(3), trial(1, val_accuracy=None, agreement=0.5)]
    keep_earlier(RunLayout(tmp_path), earlier)
    assert read_earlier(RunLayout(tmp_path)) == earlier


@pytest.mark.parametrize("content", [None, b"torn"])
def test_a_lost_or_damaged_file_is_told(tmp_path: Path, content: bytes | None) -> None:
    """A resume without it would search on differently, and nobody would know."""
    if content is not None:
        RunLayout(tmp_path).warm_start.write_bytes(content)
    with pytest.raises(CorruptRunError, match=r"cannot read .*warm_start\.parquet"):
        read_earlier(RunLayout(tmp_path))
