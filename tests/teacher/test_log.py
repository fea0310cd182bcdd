"""What a journal's lines survive: the same promises for a local file and for objects of any storage."""

import threading
from pathlib import Path

import numpy as np
import pytest
from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem

from raysys.errors import CorruptRunError, StorageError
from raysys.oracle import Response
from raysys.records import Account
from raysys.teacher.journal import Journal, open_journal, read_accounts, read_ledger
from raysys.teacher.ledger import Charge, Ledger, Recorded, RequestKey
from raysys.teacher.log import LocalLog

FOLDER = Path("run/ledger")


class Place:
    """Where a journal lies: a local folder, or a storage that looks like any other than the local one."""

    def __init__(self, root: Path, segments: bool) -> None:
        self.folder = FOLDER if segments else root / FOLDER
        self.filesystem: FileSystem | None = (
            SubTreeFileSystem(str(root), LocalFileSystem()) if segments else None
        )
        self.disk = root / FOLDER

    def open(self) -> Journal:
        return open_journal(self.folder, self.filesystem)

    def accounts(self) -> dict[str, Account]:
        return read_accounts(self.folder, self.filesystem)

    def recorded(self) -> list[int]:
        """Sequence numbers with an answer; each answer is the one that was written."""
        ledger = read_ledger(self.folder, self.filesystem)
        sequences = sorted(ledger.charges("u")) if ledger.accounts() else []
        for sequence in sequences:
            verdict = ledger.admit(charge(sequence).key, 0)
            assert isinstance(verdict, Recorded)
            np.testing.assert_array_equal(verdict.response.labels, charge(sequence).response.labels)
        return sequences

    def write(self, *sequences: int) -> None:
        """What a process does that opens the journal, answers these requests and ends."""
        journal = self.open()
        ledger = Ledger()
        journal.replay(ledger)
        if "u" not in ledger.accounts():
            journal.append_open("u", 10**6, 0)
        for sequence in sequences:
            journal.append_charges([charge(sequence)])
        journal.close()

    def files(self) -> list[Path]:
        return sorted(path for path in self.disk.rglob("*") if path.is_file())


@pytest.fixture(params=["file", "segments"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, request.param == "segments")


def charge(sequence: int, images: int = 3) -> Charge:
    rng = np.random.default_rng(sequence)
    return Charge(RequestKey("u", sequence, f"d{sequence}", images), Response(rng.integers(0, 300, images)))


def test_nothing_was_written_yet(place: Place) -> None:
    assert place.accounts() == {}
    place.open().close()
    assert place.accounts() == {}


def test_one_process_after_the_other_goes_on(place: Place) -> None:
    for sequence in range(3):
        place.write(2 * sequence, 2 * sequence + 1)
    assert place.recorded() == list(range(6))
    assert place.accounts() == {"u": Account("u", 18, 0, 10**6)}


def test_an_end_torn_at_any_byte_is_dropped_and_writing_goes_on(tmp_path: Path) -> None:
    place = Place(tmp_path, segments=False)
    place.write(0, 1)
    before = {path: path.read_bytes() for path in place.files()}
    place.write(2)
    last = place.files()[-1]
    whole, kept = last.read_bytes(), len(before.get(last, b""))
    for end in range(kept, len(whole)):
        for path in place.files():
            path.unlink()
        for path, content in before.items():
            path.write_bytes(content)
        last.write_bytes(whole[:end])
        assert place.recorded() == [0, 1]
        place.write(7)
        assert place.recorded() == [0, 1, 7]
    last.write_bytes(whole)


@pytest.mark.parametrize("rubbish", [b"\0" * 50, b"0badc0de {}"])
def test_an_end_of_rubbish_is_dropped(tmp_path: Path, rubbish: bytes) -> None:
    place = Place(tmp_path, segments=False)
    place.write(0, 1)
    place.write(2)
    last = place.files()[-1]
    content = last.read_bytes()
    good = content[: content[:-1].rfind(b"\n") + 1]
    last.write_bytes(good + rubbish)
    assert place.recorded() == [0, 1]
    place.write(3)
    assert place.recorded() == [0, 1, 3]


@pytest.mark.parametrize("rubbish", [b"\n", b"0badc0de {}\n"])
def test_a_whole_last_record_that_is_damaged_is_refused(tmp_path: Path, rubbish: bytes) -> None:
    place = Place(tmp_path, segments=False)
    place.write(0, 1)
    last = place.files()[-1]
    last.write_bytes(last.read_bytes() + rubbish)
    with pytest.raises(CorruptRunError, match="a whole record does not match its checksum"):
        place.recorded()


@pytest.mark.parametrize("tail", [b"", b"half a li"])
def test_a_damaged_record_before_others_is_never_skipped(tmp_path: Path, tail: bytes) -> None:
    place = Place(tmp_path, segments=False)
    place.write(0, 1, 2)
    lines = [line for path in place.files() for line in path.read_bytes().splitlines(keepends=True)]
    damaged = bytearray(lines[1])
    damaged[30] ^= 1
    for path in place.files():
        path.write_bytes(path.read_bytes().replace(lines[1], bytes(damaged)))
    last = place.files()[-1]
    last.write_bytes(last.read_bytes() + tail)
    before = {path: path.read_bytes() for path in place.files()}
    with pytest.raises(CorruptRunError, match=rf"the ledger is damaged: .*, byte {len(lines[0])}\n"):
        place.recorded()
    journal = place.open()
    with pytest.raises(CorruptRunError, match="does not match its checksum"):
        journal.replay(Ledger())
    journal.close()
    assert {path: path.read_bytes() for path in place.files()} == before, "it is left as it was found"


def test_a_reader_sees_whole_records_while_it_is_written(place: Place) -> None:
    place.write()
    journal = place.open()
    journal.replay(Ledger())
    groups = [[charge(2 * n, 3000), charge(2 * n + 1, 3000)] for n in range(20)]

    def write() -> None:
        for group in groups:
            journal.append_charges(group)

    writer = threading.Thread(target=write)
    writer.start()
    seen = [0]
    while writer.is_alive():
        seen.append(place.accounts()["u"].charged)
    writer.join()
    journal.close()
    assert seen == sorted(seen)
    assert all(charged % 6000 == 0 for charged in seen), "a group is there as a whole or not at all"
    assert place.accounts()["u"].charged == 40 * 3000


def test_a_folder_that_cannot_be_made_is_a_storage_error(place: Place) -> None:
    place.disk.parent.parent.mkdir(exist_ok=True)
    place.disk.parent.touch()
    with pytest.raises(StorageError, match=r"cannot write the ledger .*ledger"):
        place.open()


def test_a_second_writer_of_a_local_file_is_refused(tmp_path: Path) -> None:
    first = LocalLog(tmp_path)
    with pytest.raises(StorageError, match=r"another process writes to .*\n  a run has one teacher"):
        LocalLog(tmp_path, patience_s=0)
    first.close()
    LocalLog(tmp_path, patience_s=0).close()


def test_a_second_writer_of_a_local_file_waits_for_the_first_to_let_go(tmp_path: Path) -> None:
    first = LocalLog(tmp_path)
    waiting = threading.Thread(target=lambda: LocalLog(tmp_path).close())
    waiting.start()
    first.close()
    waiting.join(timeout=20)
    assert not waiting.is_alive()
