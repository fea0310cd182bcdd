import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from raysys.errors import CorruptRunError, LeaseError
from raysys.oracle import Response
from raysys.records import Account
from raysys.teacher.journal import open_journal, read_accounts, read_ledger
from raysys.teacher.ledger import Charge, Ledger, Recorded, RequestKey
from raysys.teacher.log import FILE

READ_PROGRAM = """
import json, sys
from pathlib import Path
from raysys.teacher.journal import read_ledger
from raysys.teacher.ledger import RequestKey
response = read_ledger(Path(sys.argv[1])).admit(RequestKey("u", 0, "d0", 3), 0).response
print(json.dumps([response.labels.tolist(), response.probabilities.astype(float).tolist()]))
"""

FULL_DISK_PROGRAM = """
import json, resource, sys
from pathlib import Path
import numpy as np
from raysys.oracle import Response
from raysys.records import Task
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem
from raysys.teacher.journal import open_journal, read_accounts
from raysys.teacher.service import Request, TeacherService

class Teacher:
    def predict(self, images, meter):
        meter.sent(0, len(images))
        return Response(images.sum(axis=(1, 2, 3)).astype(np.int64) % 10)

folder, filesystem, before = Path(sys.argv[1]), None, 0
if sys.argv[3] == "segments":
    folder, filesystem = Path("ledger"), SubTreeFileSystem(sys.argv[1], LocalFileSystem())
accounts = lambda: read_accounts(folder, filesystem)
journal = open_journal(folder, filesystem)
service = TeacherService(Teacher(), Task("digits", (1, 8, 8), 10, False), "hard", journal)
service.open("a", 100)
service.open("b", 100)
images = np.ones((5, 1, 8, 8), np.uint8)
service.serve([Request("a", 0, 0, images)])
if filesystem is None:
    before = (folder / "journal.jsonl").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (before + int(sys.argv[2]), resource.RLIM_INFINITY))
replies = service.serve([Request("a", 0, 1, images), Request("b", 0, 0, images)])
errors = [str(reply) for reply in replies]
try:
    service.open("c", 100)
except Exception as error:
    errors.append(str(error))
full = [account.charged for account in service.accounts().values()]
exact = accounts() == service.accounts()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
if filesystem is not None:  # an object store may have kept what failed: look
    journal = open_journal(folder, filesystem)
    service = TeacherService(Teacher(), Task("digits", (1, 8, 8), 10, False), "hard", journal)
epoch = service.open("c", 100)
replies = service.serve([Request("a", 0, 1, images), Request("c", epoch, 0, images)])
labels = [reply.labels.tolist() for reply in replies]
exact = exact and accounts() == service.accounts()
after = {uid: account.charged for uid, account in accounts().items()}
print(json.dumps({"errors": errors, "full": full, "exact": exact, "labels": labels, "after": after}))
"""


def charge(sequence: int, images: int = 3, uid: str = "u", soft: bool = False) -> Charge:
    rng = np.random.default_rng(sequence)
    probabilities = rng.random((images, 4)).astype(np.float32) if soft else None
    response = Response(rng.integers(0, 300, images), probabilities)
    return Charge(RequestKey(uid, sequence, f"d{sequence}", images), response)


def written(folder: Path, *groups: list[Charge]) -> Path:
    """A journal with the account u and these groups of charges, each sent once."""
    journal = open_journal(folder)
    journal.replay(Ledger())
    journal.append_open("u", 100, 0)
    for group in groups:
        journal.append_sent([(one.key, one.key.images) for one in group])
        journal.append_charges(group)
    journal.close()
    return folder / FILE


def known(folder: Path, charges: list[Charge]) -> list[int]:
    """The sequence numbers of those charges that the journal has an answer for."""
    ledger = read_ledger(folder)
    return [one.key.sequence for one in charges if isinstance(ledger.admit(one.key, 0), Recorded)]


@pytest.mark.parametrize("soft", [False, True])
def test_a_replay_gives_what_was_appended(tmp_path: Path, soft: bool) -> None:
    charges = [charge(number, images=number + 1, soft=soft) for number in range(5)]
    written(tmp_path, charges[:2], charges[2:])
    ledger = read_ledger(tmp_path)
    for one in charges:
        verdict = ledger.admit(one.key, 0)
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


def test_every_event_is_replayed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.replay(Ledger())
    for uid in "ab":
        journal.append_open(uid, 50, 0)
    asked = [charge(0, 5, "a"), charge(0, 7, "b"), charge(1, 4, "b")]
    journal.append_sent([(one.key, one.key.images) for one in asked])
    journal.append_sent([(asked[0].key, 5), (asked[2].key, 3)])
    journal.append_sent([(asked[2].key, -3)])
    journal.append_charges(asked[:2])
    assert read_accounts(tmp_path) == {"a": Account("a", 5, 10, 50), "b": Account("b", 7, 11, 50)}
    journal.append_counted(16)
    journal.append_close("a")
    journal.append_open("b", 50, 3)
    journal.close()
    ledger = read_ledger(tmp_path)
    assert sum(account.executed for account in ledger.accounts().values()) == 16
    assert ledger.next_epoch("b", 50) == 4
    with pytest.raises(LeaseError, match="attempt 3 has begun"):
        ledger.admit(asked[1].key, 0)
    with pytest.raises(LeaseError, match="the trial was ended"):
        ledger.admit(asked[0].key, 0)
    assert ledger.next_epoch("a", 50) == 1


@pytest.mark.parametrize("room", [0, 1, 100, 200])
@pytest.mark.parametrize("kind", ["file", "segments"])
def test_a_full_disk_charges_nothing_and_leaves_no_half_record(tmp_path: Path, room: int, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK_PROGRAM, str(tmp_path), str(room), kind],
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    name = tmp_path / FILE if kind == "file" else "ledger"
    refused = rf"cannot write the ledger {name}\n  .*File too large.*\n  nothing was charged"
    assert len(said["errors"]) >= 2
    assert all(re.match(refused, error) for error in said["errors"])
    assert said["exact"], "the journal tells what the service believes"
    assert said["full"][:2] == [5, 0]
    assert said["labels"] == [[4] * 5, [4] * 5]
    assert said["after"] == {"a": 10, "b": 0, "c": 5}


def test_a_record_of_another_version_is_never_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, [charge(0)])
    body = json.dumps({"uid": "u", "sequence": 1, "images": 5}).encode()
    path.write_bytes(path.read_bytes() + b"%08x %b\n" % (zlib.crc32(body), body))
    with pytest.raises(CorruptRunError, match=r"unknown record: uid, sequence, images\n  another version"):
        read_ledger(tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        b"[[1]]",
        b"7",
        b"\xff",
        b'{"open": "u", "budget": "many", "epoch": 0}',
        b'{"open": ["u"], "budget": 1, "epoch": 0}',
        b'{"sent": [["u", 0]]}',
        b'{"sent": {"u": 0}}',
        b'{"sent": [["u", 0, 1e300]]}',
        b'{"charges": 7}',
        b'{"charges": [{"uid": "u", "sequence": 9}]}',
        b'{"charges": [{"uid": "u", "sequence": 9, "digest": "d", "images": -1, "labels": ""}]}',
        b'{"charges": [{"uid": "u", "sequence": 9, "digest": "d", "images": 1, "labels": "A"}], "time": 1}',
        b'{"counted": null}',
        b'{"close": "u", "time": "now"}',
    ],
)
def test_a_record_of_other_types_is_damage(tmp_path: Path, body: bytes) -> None:
    path = written(tmp_path, [charge(0)])
    path.write_bytes(path.read_bytes() + b"%08x %b\n" % (zlib.crc32(body), body))
    with pytest.raises(CorruptRunError, match="the ledger is damaged"):
        read_ledger(tmp_path)
