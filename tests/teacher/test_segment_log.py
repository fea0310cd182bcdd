"""The ledger on an object store: one writer after the other, and what is damaged is told."""

import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pyarrow.fs import FileSelector, FileSystem, LocalFileSystem, SubTreeFileSystem
from s3_server import S3

from raysys.errors import CorruptRunError, StorageError
from raysys.oracle import Response
from raysys.records import Account
from raysys.teacher.journal import Journal, open_journal, read_accounts, read_ledger
from raysys.teacher.ledger import Charge, Ledger, RequestKey
from raysys.teacher.log import FILE
from raysys.teacher.segment_log import CHUNK

FOLDER = Path("run/ledger")


class Place:
    """A storage, and what a process does there that opens the journal."""

    def __init__(self, filesystem: FileSystem, folder: Path) -> None:
        self.filesystem = filesystem
        self.folder = folder

    def open(self) -> Journal:
        journal, ledger = open_journal(self.folder, self.filesystem), Ledger()
        journal.replay(ledger)
        if "u" not in ledger.accounts():
            journal.append_open("u", 10**6, 0)
        return journal

    def write(self, *sequences: int) -> None:
        journal = self.open()
        for sequence in sequences:
            answer(journal, sequence)

    def account(self) -> Account:
        return read_accounts(self.folder, self.filesystem)["u"]

    def recorded(self) -> list[int]:
        return sorted(read_ledger(self.folder, self.filesystem).charges("u"))

    def names(self) -> list[str]:
        infos = self.filesystem.get_file_info(FileSelector(str(self.folder), recursive=True))
        return sorted(info.path for info in infos if info.is_file)


@pytest.fixture
def disk(tmp_path: Path) -> Place:
    """Objects that a test can look into and damage."""
    return Place(SubTreeFileSystem(str(tmp_path), LocalFileSystem()), FOLDER)


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "disk":
        found: Place = request.getfixturevalue("disk")
        return found
    s3: S3 = request.getfixturevalue("s3")
    return Place(*s3.fresh())


def answer(journal: Journal, sequence: int) -> None:
    """Send a request of three images and charge it."""
    rng = np.random.default_rng(sequence)
    key = RequestKey("u", sequence, f"d{sequence}", 3)
    journal.append_sent([(key, 3)])
    journal.append_charges([Charge(key, Response(rng.integers(0, 300, 3)))])


def test_one_process_after_the_other_goes_on(place: Place) -> None:
    assert read_accounts(place.folder, place.filesystem) == {}
    for sequence in range(3):
        place.write(2 * sequence, 2 * sequence + 1)
    assert place.recorded() == list(range(6))
    assert place.account() == Account("u", 18, 18, 10**6)


def test_a_writer_that_was_believed_dead_sends_nothing_more_and_changes_no_books(place: Place) -> None:
    place.write(0)
    old, new = place.open(), place.open()
    for sequence in (1, 2):
        with pytest.raises(StorageError, match="another process took over the ledger"):
            answer(old, sequence)
        answer(new, sequence)
    assert place.recorded() == [0, 1, 2]
    assert place.account() == Account("u", 9, 9, 10**6)
    place.write(3)
    assert place.account() == Account("u", 12, 12, 10**6)


def test_what_was_sent_before_a_takeover_is_executed_and_its_late_charge_is_nobodys(place: Place) -> None:
    old = place.open()
    key = RequestKey("u", 0, "d0", 3)
    old.append_sent([(key, 3)])
    new = place.open()
    with pytest.raises(StorageError, match="this one was believed dead"):
        old.append_charges([Charge(key, Response(np.zeros(3, np.int64)))])
    assert place.account() == Account("u", 0, 3, 10**6)
    answer(new, 0)
    assert place.account() == Account("u", 3, 6, 10**6)


def test_who_was_overtaken_while_taking_over_changes_nothing(place: Place) -> None:
    place.write(0, 1)
    slow = open_journal(place.folder, place.filesystem)
    place.write(2)
    with pytest.raises(StorageError, match="took over the ledger"):
        slow.replay(Ledger())
    place.write(3)
    assert place.recorded() == [0, 1, 2, 3]


def test_many_lines_are_read_as_few_objects(place: Place) -> None:
    count = CHUNK // 2 + 5
    place.write(*range(count))
    [chunk] = [name for name in place.names() if name.endswith(f"00000000-{CHUNK - 1:08d}.jsonl")]
    folder = str(Path(chunk).parent)
    for name in place.names():  # a reader does without those that stand in the chunk
        if name < f"{folder}/{CHUNK:08d}" and name.startswith(f"{folder}/0") and name != chunk:
            place.filesystem.delete_file(name)
    assert place.recorded() == list(range(count))


def test_the_next_writer_leaves_only_its_own_objects(disk: Place) -> None:
    for sequence in range(4):
        disk.write(sequence)
    assert {Path(name).relative_to(FOLDER).parts[0].partition("-")[0] for name in disk.names()} == {
        "000004",
        "writers",
        "owner",
    }


def objects(disk: Place) -> list[str]:
    return [name for name in disk.names() if name.endswith(".jsonl")]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="cut off"),
        pytest.param(lambda content: content[: content[:-1].rfind(b"\n") + 1], id="last line gone"),
        pytest.param(lambda content: content[:-9] + b"\0" * 9, id="zeros at the end"),
        pytest.param(
            lambda content: content[:30] + bytes([content[30] ^ 1]) + content[31:], id="bit flipped"
        ),
        pytest.param(lambda content: b"", id="empty"),
    ],
)
def test_a_damaged_object_is_refused_and_left_as_it_was(
    disk: Place, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    disk.write(0)
    disk.write(1, 2)
    for name in objects(disk):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(damage(whole))
        before = objects(disk)
        for look in (disk.recorded, disk.open):
            with pytest.raises(CorruptRunError, match=rf"the ledger is damaged: {name}"):
                look()
        assert objects(disk) == before
        (tmp_path / name).write_bytes(whole)
    assert disk.recorded() == [0, 1, 2]


def test_a_missing_object_is_refused(disk: Place, tmp_path: Path) -> None:
    disk.write(0)
    disk.write(1, 2)
    *lines, _, base = objects(disk)  # without its last line a journal is whole, and shorter
    for name in (*lines, base):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        with pytest.raises(
            CorruptRunError, match=rf"the ledger is damaged: .*{Path(name).name}\n  it is missing"
        ):
            disk.recorded()
        (tmp_path / name).write_bytes(whole)


def test_a_journal_that_is_gone_is_no_empty_one(disk: Place, tmp_path: Path) -> None:
    disk.write(0)
    for name in objects(disk):
        (tmp_path / name).unlink()
    for look in (disk.recorded, disk.open):
        with pytest.raises(CorruptRunError, match=r"the ledger is damaged: .*base\.jsonl\n  it is missing"):
            look()


def test_an_object_in_the_place_of_another_is_refused(disk: Place, tmp_path: Path) -> None:
    disk.write(0, 1, 2)
    first, second = (tmp_path / name for name in objects(disk)[1:3])
    second.write_bytes(first.read_bytes())
    with pytest.raises(CorruptRunError, match="it is not as it was written"):
        disk.recorded()


@pytest.mark.parametrize("left", ["named", "based", "owned", "half removed"])
def test_a_takeover_that_dies_anywhere_loses_and_doubles_nothing(
    disk: Place, tmp_path: Path, left: str
) -> None:
    disk.write(*range(10))
    before = shutil.copytree(tmp_path / FOLDER, tmp_path / "before")
    journal = open_journal(disk.folder, disk.filesystem)
    if left != "named":
        journal.replay(Ledger())
        lasting = sorted(before.rglob("*.jsonl"))[:: 2 if left == "half removed" else 1]
        for path in [*lasting, before / "owner"] if left == "based" else lasting:
            there = tmp_path / FOLDER / path.relative_to(before)
            there.parent.mkdir(exist_ok=True)
            shutil.copy(path, there)
    assert disk.recorded() == list(range(10))
    disk.write(10)
    assert disk.recorded() == list(range(11))
    assert disk.account().executed == 33


def test_after_a_write_that_failed_nothing_is_written_until_it_was_read(disk: Place, tmp_path: Path) -> None:
    journal = disk.open()
    answer(journal, 0)
    away = (tmp_path / FOLDER).rename(tmp_path / "away")
    (tmp_path / FOLDER).touch()
    with pytest.raises(StorageError, match=r"cannot write the ledger .*\n  .*\n  nothing was charged"):
        answer(journal, 1)
    (tmp_path / FOLDER).unlink()
    away.rename(tmp_path / FOLDER)
    with pytest.raises(StorageError, match=r"cannot write the ledger"):
        answer(journal, 1)
    disk.write(1)
    assert disk.recorded() == [0, 1]


def test_a_reader_does_not_stumble_over_writers_that_take_over(place: Place) -> None:
    place.write()
    stop = threading.Event()

    def writing() -> None:
        for sequence in range(12):
            place.write(sequence)
        stop.set()

    writer = threading.Thread(target=writing)
    writer.start()
    seen = [0]
    while not stop.is_set():
        seen.append(place.account().charged)
    writer.join()
    assert seen == sorted(seen)
    assert place.account().charged == 36


def test_other_files_are_passed_over(disk: Place, tmp_path: Path) -> None:
    disk.write(0)
    folder = tmp_path / FOLDER
    for name in ("notes.txt", "journal.jsonl", "000009-notahex/base.jsonl", "writers/.000009-00000000.1.tmp"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    disk.write(1)
    assert disk.recorded() == [0, 1]


@pytest.mark.parametrize("lost", ["", "writers", "owner"])
def test_a_copy_in_a_folder_can_be_read_and_is_not_gone_on_with(
    lost: str, disk: Place, tmp_path: Path
) -> None:
    """A new file would begin an empty ledger, and all that was answered would be paid for once more."""
    disk.write(0, 1)
    folder = tmp_path / FOLDER
    if lost:
        (folder / lost).rename(tmp_path / "elsewhere")
    with pytest.raises(CorruptRunError, match=r"kept on an object store[\s\S]*resume the run where it was"):
        open_journal(folder)
    assert not (folder / FILE).exists()
    assert sorted(read_ledger(folder).charges("u")) == [0, 1]


def test_a_folder_copied_into_an_object_store_can_be_read_and_is_not_gone_on_with(
    disk: Place, tmp_path: Path
) -> None:
    with closing(Place(LocalFileSystem(), tmp_path / FOLDER).open()) as journal:
        answer(journal, 0)
        answer(journal, 1)
    before = disk.names()
    with pytest.raises(CorruptRunError, match=r"kept in a folder[\s\S]*resume the run where it was"):
        disk.open()
    assert disk.names() == before
    assert disk.recorded() == [0, 1]
