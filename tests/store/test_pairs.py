from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector, LocalFileSystem, SubTreeFileSystem

from raysys.errors import CorruptRunError
from raysys.oracle import Images, Response
from raysys.store.layout import RunLayout
from raysys.store.pairs import (
    ROWS,
    has_pairs,
    join_parts,
    keep_part,
    read_labels,
    read_pairs,
    read_some_pairs,
)

UID = "u00000"


@pytest.fixture(params=["local folder", "other filesystem"])
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> RunLayout:
    if request.param == "local folder":
        return RunLayout.open(tmp_path / "run")
    return RunLayout(Path("storage/run"), SubTreeFileSystem(str(tmp_path), LocalFileSystem()))


def pairs(n: int, soft: bool = False, seed: int = 0) -> tuple[Images, Response]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 3, 4, 2)).astype(np.uint8)
    told = rng.random((n, 5)).astype(np.float32) if soft else None
    return images, Response(rng.integers(0, 5, n), told)


def keep(layout: RunLayout, images: Images, answer: Response, ends: list[int]) -> None:
    """Keep them in parts that begin at 0 and at each of the ends but the last."""
    for start, end in zip([0, *ends], ends, strict=False):
        told = answer.probabilities
        part = Response(answer.labels[start:end], None if told is None else told[start:end])
        keep_part(layout, UID, start, images[start:end], part)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("ends", [[1], [3, 4, 9], [ROWS - 1, ROWS + 7, 3 * ROWS + 20]])
def test_joined_parts_come_back_in_the_order_of_asking(
    layout: RunLayout, ends: list[int], soft: bool
) -> None:
    images, answer = pairs(ends[-1], soft)
    keep(layout, images, answer, ends)
    assert not has_pairs(layout, UID)
    join_parts(layout, UID)
    assert has_pairs(layout, UID)
    seen, told = read_pairs(layout, UID)
    np.testing.assert_array_equal(seen, images)
    np.testing.assert_array_equal(told.labels, answer.labels)
    if soft:
        np.testing.assert_array_equal(told.probabilities, answer.probabilities)
    else:
        assert told.probabilities is None


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_some_pairs_are_read_without_the_others(layout: RunLayout, soft: bool) -> None:
    images, answer = pairs(2 * ROWS + 10, soft)
    keep(layout, images, answer, [ROWS, 2 * ROWS, 2 * ROWS + 10])
    join_parts(layout, UID)
    np.testing.assert_array_equal(read_labels(layout, UID), answer.labels)
    rows = [0, 63, 64, ROWS + 1, 2 * ROWS + 9]
    seen, told = read_some_pairs(layout, UID, rows)
    np.testing.assert_array_equal(seen, images[rows])
    np.testing.assert_array_equal(told.labels, answer.labels[rows])
    if soft:
        assert answer.probabilities is not None
        np.testing.assert_array_equal(told.probabilities, answer.probabilities[rows])
    else:
        assert told.probabilities is None


def test_the_file_is_plain_parquet(tmp_path: Path) -> None:
    images, answer = pairs(2, soft=True)
    keep(RunLayout(tmp_path), images, answer, [2])
    join_parts(RunLayout(tmp_path), UID)
    table = pq.read_table(tmp_path / "students" / UID / "pairs.parquet")
    assert [str(table.schema.field(name).type) for name in ("image", "label")] == [
        "fixed_size_binary[24]",
        "int64",
    ]
    assert str(table.schema.field("probabilities").type).startswith("list<")
    assert table.schema.metadata[b"image_shape"] == b"[3, 4, 2]"
    assert table["image"][1].as_py() == images[1].tobytes()


def test_a_part_that_comes_again_replaces_the_one_before(layout: RunLayout) -> None:
    keep_part(layout, UID, 0, *pairs(5, seed=1))
    keep_part(layout, UID, 5, *pairs(4, seed=2))
    keep_part(layout, UID, 5, *pairs(2, seed=3))
    join_parts(layout, UID)
    seen, _ = read_pairs(layout, UID)
    np.testing.assert_array_equal(seen, np.concatenate([pairs(5, seed=1)[0], pairs(2, seed=3)[0]]))


@pytest.mark.parametrize("firsts", [[], [5], [0, 6], [0, 4]])
def test_nothing_is_kept_of_which_a_part_is_missing(layout: RunLayout, firsts: list[int]) -> None:
    for first in firsts:
        keep_part(layout, UID, first, *pairs(5))
    join_parts(layout, UID)
    assert not has_pairs(layout, UID)


def test_joined_parts_are_gone_and_what_a_stop_left_of_them_does_no_harm(layout: RunLayout) -> None:
    images, answer = pairs(9)
    keep(layout, images, answer, [4, 9])
    join_parts(layout, UID)
    folder = str(layout.checkpoints(UID) / "pairs")
    assert layout.filesystem.get_file_info(FileSelector(folder)) == []
    keep_part(layout, UID, 4, *pairs(5))
    join_parts(layout, UID)
    np.testing.assert_array_equal(read_pairs(layout, UID)[0], images)


def test_a_damaged_part_costs_the_pairs_and_not_the_trial(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    keep(layout, *pairs(9), [4, 9])
    (part,) = (layout.checkpoints(UID) / "pairs").glob("part-00000004-*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    join_parts(layout, UID)
    assert not has_pairs(layout, UID)


def test_missing_and_damaged_pairs_are_told(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    with pytest.raises(CorruptRunError, match=r"cannot read .*pairs\.parquet"):
        read_pairs(layout, UID)
    keep(layout, *pairs(9), [9])
    join_parts(layout, UID)
    whole = layout.pairs(UID).read_bytes()
    layout.pairs(UID).write_bytes(whole[:90] + bytes([whole[90] ^ 1]) + whole[91:])
    with pytest.raises(CorruptRunError, match=r"cannot read .*pairs\.parquet"):
        read_pairs(layout, UID)
    layout.pairs(UID).write_bytes(whole[: len(whole) // 2])
    for read in (read_pairs, read_labels, lambda layout, uid: read_some_pairs(layout, uid, [0])):
        with pytest.raises(CorruptRunError, match=r"cannot read .*pairs\.parquet"):
            read(layout, UID)
