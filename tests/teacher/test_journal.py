import json
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from raysys.errors import CorruptRunError, StorageError
from raysys.oracle import Response
from raysys.records import Account
from raysys.teacher.journal import FILE, Journal, read_accounts, read_ledger
from raysys.teacher.ledger import Charge, Ledger, Recorded, RequestKey

READ_PROGRAM = """
import json, sys
from pathlib import Path
from raysys.teacher.journal import read_ledger
from raysys.teacher.ledger import RequestKey
response = read_ledger(Path(sys.argv[1])).admit(RequestKey("u", 0, "d0", 3)).response
print(json.dumps([response.labels.tolist(), response.probabilities.astype(float).tolist()]))
"""

FULL_DISK_PROGRAM = """
import json, resource, sys
from pathlib import Path
import numpy as np
from raysys.oracle import Response
from raysys.records import Task
from raysys.teacher.journal import Journal, read_accounts
from raysys.teacher.service import Request, TeacherService

folder = Path(sys.argv[1])
size = lambda: (folder / "journal.jsonl").stat().st_size
teacher = lambda images: Response(images.sum(axis=(1, 2, 3)).astype(np.int64) % 10)
service = TeacherService(teacher, Task("digits", (1, 8, 8), 10, False), "hard", Journal(folder))
service.open("a", 100)
service.open("b", 100)
images = np.ones((5, 1, 8, 8), np.uint8)
service.serve([Request("a", 0, images)])
before = size()
resource.setrlimit(resource.RLIMIT_FSIZE, (before + int(sys.argv[2]), resource.RLIM_INFINITY))
errors = [str(reply) for reply in service.serve([Request("a", 1, images), Request("b", 0, images)])]
try:
    service.open("c", 100)
except Exception as error:
    errors.append(str(error))
full = [account.charged for account in service.accounts().values()], size() - before
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
service.open("c", 100)
labels = [r.labels.tolist() for r in service.serve([Request("a", 1, images), Request("c", 0, images)])]
after = {uid: account.charged for uid, account in read_accounts(folder).items()}
print(json.dumps({"errors": errors, "full": full, "labels": labels, "after": after}))
"""


def charge(sequence: int, images: int = 3, uid: str = "u", soft: bool = False) -> Charge:
    rng = np.random.default_rng(sequence)
    probabilities = rng.random((images, 4)).astype(np.float32) if soft else None
    response = Response(rng.integers(0, 300, images), probabilities)
    return Charge(RequestKey(uid, sequence, f"d{sequence}", images), images, response)


def written(folder: Path, *groups: list[Charge]) -> Path:
    """A journal with the account u and these groups of charges."""
    journal = Journal(folder, clock=lambda: 0.0)
    journal.replay(Ledger())
    journal.append_account("u", 100)
    for group in groups:
        journal.append_charges(group)
    journal.close()
    return folder / FILE


def known(folder: Path, charges: list[Charge]) -> list[int]:
    """The sequence numbers of those charges that the journal has an answer for."""
    ledger = read_ledger(folder)
    return [one.key.sequence for one in charges if isinstance(ledger.admit(one.key), Recorded)]


@pytest.mark.parametrize("soft", [False, True])
def test_a_replay_gives_what_was_appended(tmp_path: Path, soft: bool) -> None:
    charges = [charge(number, images=number + 1, soft=soft) for number in range(5)]
    written(tmp_path, charges[:2], charges[2:])
    ledger = read_ledger(tmp_path)
    for one in charges:
        verdict = ledger.admit(one.key)
        assert isinstance(verdict, Recorded)
        np.testing.assert_array_equal(verdict.response.labels, one.response.labels)
        assert verdict.response.labels.dtype == np.int64
        if soft:
            np.testing.assert_array_equal(verdict.response.probabilities, one.response.probabilities)
        else:
            assert verdict.response.probabilities is None
    assert ledger.accounts() == {"u": Account("u", 15, 15, 100)}


def test_another_process_reads_the_same_answers(tmp_path: Path) -> None:
    one = charge(0, soft=True)
    written(tmp_path, [one])
    read = subprocess.run(
        [sys.executable, "-c", READ_PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert one.response.probabilities is not None
    there = json.loads(read.stdout)
    assert there == [one.response.labels.tolist(), one.response.probabilities.astype(float).tolist()]


def test_nothing_was_asked_yet(tmp_path: Path) -> None:
    assert read_accounts(tmp_path / "new") == {}


def test_a_tail_torn_at_any_byte_is_dropped_and_writing_goes_on(tmp_path: Path) -> None:
    first, last, later = [charge(0), charge(1)], [charge(2), charge(3)], charge(9)
    start = len(written(tmp_path / "start", first).read_bytes())
    whole = written(tmp_path / "whole", first, last).read_bytes()
    torn = tmp_path / "torn"
    torn.mkdir()
    for end in range(start, len(whole)):
        (torn / FILE).write_bytes(whole[:end])
        rest = known(torn, last)
        assert known(torn, first) == [0, 1]
        assert rest == [], "a group is there as a whole or not at all"
        journal = Journal(torn)
        assert journal.replay(Ledger()) == end - (whole.rfind(b"\n", 0, end) + 1)
        journal.append_charges([later])
        journal.close()
        assert known(torn, [*first, *last, later]) == [0, 1, 9]


def test_a_tail_of_rubbish_is_dropped(tmp_path: Path) -> None:
    path = written(tmp_path, [charge(0)])
    good = path.read_bytes()
    for tail in (b"\0" * 50, b"\n", good[-20:]):
        path.write_bytes(good + tail)
        assert known(tmp_path, [charge(0)]) == [0]


@pytest.mark.parametrize("tail", [b"", b"half a li"])
def test_a_damaged_record_before_others_is_never_skipped(tmp_path: Path, tail: bytes) -> None:
    path = written(tmp_path, [charge(0)], [charge(1)], [charge(2)])
    content = bytearray(path.read_bytes() + tail)
    lines = content.splitlines(keepends=True)
    second = len(lines[0]) + len(lines[1])
    content[second + 30] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptRunError, match=rf"the ledger is damaged: {path}, byte {second}\n"):
        read_ledger(tmp_path)
    journal = Journal(tmp_path)
    with pytest.raises(CorruptRunError, match="does not match its checksum"):
        journal.replay(Ledger())
    journal.close()
    assert path.read_bytes() == content, "it is left as it was found"


@pytest.mark.parametrize("room", [0, 1, 100, 200])
def test_a_full_disk_charges_nothing_and_leaves_no_half_record(tmp_path: Path, room: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK_PROGRAM, str(tmp_path), str(room)],
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    refused = f"cannot write the ledger {tmp_path / FILE}\n  File too large\n  nothing was charged"
    assert len(said["errors"]) >= 2
    assert all(error.startswith(refused) for error in said["errors"])
    charged, grown = said["full"]
    assert charged[:2] == [5, 0]
    assert (grown == 0) == (len(charged) == 2), "only c's account could be written, or nothing"
    assert said["labels"] == [[4] * 5, [4] * 5]
    assert said["after"] == {"a": 10, "b": 0, "c": 5}


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write the ledger"):
        Journal(tmp_path / "file" / "ledger")


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    with pytest.raises(StorageError, match=r"another process writes to .*\n  a run has one teacher"):
        Journal(tmp_path, patience_s=0)
    first.close()
    Journal(tmp_path, patience_s=0).close()


def test_a_second_writer_waits_for_the_first_to_let_go(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    waiting = threading.Thread(target=lambda: Journal(tmp_path).close())
    waiting.start()
    first.close()
    waiting.join(timeout=20)
    assert not waiting.is_alive()


def test_a_reader_sees_whole_records_while_it_is_written(tmp_path: Path) -> None:
    written(tmp_path)
    journal = Journal(tmp_path)
    journal.replay(Ledger())
    groups = [[charge(2 * n, 3000, soft=True), charge(2 * n + 1, 3000, soft=True)] for n in range(20)]
    writer = threading.Thread(target=lambda: [journal.append_charges(group) for group in groups])
    writer.start()
    seen = [0]
    while writer.is_alive():
        seen.append(read_accounts(tmp_path)["u"].charged)
    writer.join()
    journal.close()
    assert seen == sorted(seen)
    assert all(charged % 3000 == 0 for charged in seen)
    assert read_accounts(tmp_path)["u"].charged == 40 * 3000


def test_a_record_of_another_version_is_never_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, [charge(0)])
    body = json.dumps({"uid": "u", "sequence": 1, "images": 5}).encode()
    path.write_bytes(path.read_bytes() + b"%08x %b\n" % (zlib.crc32(body), body))
    with pytest.raises(CorruptRunError, match="unknown record: uid, sequence, images"):
        read_ledger(tmp_path)
