"""Parts that are damaged, missing or swapped: what was written is read from elsewhere, or known as lost."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from edge_runs import trial

from raysys.records import TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.parts import Parts
from raysys.store.reader import latest_trials, read_run, trials_of
from raysys.store.schema import trials_table

MERGED_AT = (3, 5)


def parts(folder: Path, count: int = 6) -> Parts:
    """Trials 1 to `count`, a part each; the first 3 were merged, then the first 5."""
    made = trials_of(RunLayout(folder))
    for number in range(1, count + 1):
        made.append(trials_table([trial(number)]), number)
        if number in MERGED_AT:
            made.merge(latest_trials)
    return made


def uids(made: Parts) -> list[int]:
    return [int(uid[1:]) for uid in made.read().table["uid"].to_pylist()]


def names(made: Parts) -> list[str]:
    return sorted(path.name[5:22] for path in made.folder.iterdir())


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flipped(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes([whole[60] ^ 4]) + whole[61:])


DAMAGE: list[Callable[[Path], None]] = [truncated, flipped, Path.unlink]


def test_a_merge_keeps_the_parts_before_it_until_the_next_one(tmp_path: Path) -> None:
    made = parts(tmp_path)
    assert names(made) == [
        "00000001-00000003", "00000001-00000005", "00000004-00000004", "00000005-00000005",
        "00000006-00000006",
    ]  # fmt: skip
    assert [Path(info.path).name[5:22] for info in made.files()] == ["00000001-00000005", "00000006-00000006"]
    assert made.next_number() == 7
    made.merge(latest_trials)
    assert names(made) == ["00000001-00000005", "00000001-00000006", "00000006-00000006"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_a_damaged_merged_part_held_is_read_from_those_before_it(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    made = parts(tmp_path)
    damage(next(made.folder.glob("part-00000001-00000005-*")))
    assert uids(made) == [1, 2, 3, 4, 5, 6]
    assert made.read().lost == 0
    assert len(made.read().damaged) == (damage is not Path.unlink)
    made.merge(latest_trials)
    assert uids(made) == [1, 2, 3, 4, 5, 6]
    assert not made.read().damaged


@pytest.mark.parametrize("damage", DAMAGE)
def test_rows_that_no_other_part_has_are_known_as_lost(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    made = parts(tmp_path)
    for part in made.folder.glob("part-*-00000005-*"):  # the merged one, and the fifth
        damage(part)
    assert uids(made) == [1, 2, 3, 4, 6]
    assert made.read().lost == 1
    made.merge(latest_trials)
    assert (made.read().lost, uids(made)) == (0, [1, 2, 3, 4, 6])


def test_parts_whose_contents_were_swapped_are_damaged(tmp_path: Path) -> None:
    made = parts(tmp_path, count=2)
    one, two = sorted(made.folder.iterdir())
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    assert (uids(made), made.read().lost) == ([], 2)


def test_parts_of_an_older_raysys_are_read_with_new_ones_and_merged(tmp_path: Path) -> None:
    made = trials_of(RunLayout(tmp_path))
    made.folder.mkdir()
    for number in (4, 7):  # an older merge left gaps
        pq.write_table(trials_table([trial(number)]), made.folder / f"part-{number:08d}.parquet")
    assert made.next_number() == 8
    made.append(trials_table([trial(8)]), 8)
    made.append(trials_table([trial(9)]), 9)
    assert (uids(made), made.read().lost) == ([4, 7, 8, 9], 0)
    next(made.folder.glob("part-00000008-*")).unlink()
    truncated(made.folder / "part-00000004.parquet")
    assert (uids(made), made.read().lost) == ([7, 9], 2)
    made.merge(latest_trials)
    assert (uids(made), made.read().lost) == ([7, 9], 0)


def test_a_run_tells_of_rows_that_are_lost_and_of_files_that_are_damaged(tmp_path: Path) -> None:
    from edge_runs import write_run

    layout = write_run(tmp_path / "run", [trial(0), trial(1, TrialStatus.STOPPED)], merged=False)
    first, second = sorted(layout.trials.iterdir())
    first.unlink()
    truncated(sorted(layout.reports.iterdir())[1])
    snapshot = read_run(layout)
    assert snapshot.skipped == 2
    assert [Path(path).name[:22] for path in snapshot.damaged] == ["part-00000002-00000002"]
    assert second.exists()
