"""The ledger as a table: one row a request, wherever the ledger lies."""

import json
import zlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem, SubTreeFileSystem
from s3_server import S3

from raysys.errors import CorruptRunError, StorageError
from raysys.oracle import Response
from raysys.records import EVALUATION
from raysys.teacher.charges import CHARGES, answers, charges_table, ledger_size, read_charges
from raysys.teacher.journal import Journal, open_journal, read_accounts
from raysys.teacher.ledger import Charge, Ledger, RequestKey
from raysys.teacher.log import FILE, LocalLog

START = 1_700_000_000.0


class Clock:
    """One second later at each look."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        self.now += 1
        return self.now


def key(uid: str, sequence: int, images: int) -> RequestKey:
    return RequestKey(uid, sequence, f"{uid}-{sequence}", images)


def answered(*keys: RequestKey) -> list[Charge]:
    return [Charge(one, Response(np.arange(one.images) % 10)) for one in keys]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A retried request, two in one call, one sent in two calls, one never sent, one never answered."""
    journal = Journal(LocalLog(tmp_path), Clock())
    journal.replay(Ledger())
    for uid in (EVALUATION, "u00000", "u00001"):
        journal.append_open(uid, 100, 0)  # seconds 1 to 3
    held_out, retried, with_it = key(EVALUATION, 0, 50), key("u00000", 0, 5), key("u00001", 0, 7)
    journal.append_sent([(held_out, 50)])  # 4
    journal.append_charges(answered(held_out))
    journal.append_sent([(retried, 5)])  # 6
    journal.append_sent([(retried, 5), (with_it, 7)])
    journal.append_charges(answered(retried, with_it))  # 8
    parted, refused, open_one = key("u00000", 1, 6), key("u00001", 1, 3), key("u00001", 2, 4)
    journal.append_sent([(parted, 4)])  # 9
    journal.append_sent([(parted, 2)])
    journal.append_charges(answered(parted))  # 11
    journal.append_sent([(refused, 3)])
    journal.append_sent([(refused, -3)])  # 13
    journal.append_sent([(open_one, 4)])  # 14
    journal.append_counted(75)
    journal.append_close("u00000")
    journal.close()
    return tmp_path


def seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp() - START


def test_one_row_a_request_in_the_order_of_first_sending(folder: Path) -> None:
    table = charges_table(folder)
    assert table.schema == CHARGES
    rows = [
        (*row.values(), seconds(sent), seconds(answered))
        for row in table.to_pylist()
        for sent, answered in [(row.pop("sent_at"), row.pop("answered_at"))]
    ]
    assert rows == [
        (EVALUATION, 0, "evaluation-0", 50, 50, 50, 1, 4, 5),
        ("u00000", 0, "u00000-0", 5, 10, 5, 2, 6, 8),
        ("u00001", 0, "u00001-0", 7, 7, 7, 1, 7, 8),
        ("u00000", 1, "u00000-1", 6, 6, 6, 2, 9, 11),
        ("u00001", 2, None, None, 4, 0, 1, 14, None),
    ]
    assert table["sent_at"][0].as_py().tzinfo is not None
    assert table["sent_at"][0].as_py() == datetime.fromtimestamp(START + 4, UTC)


def test_the_sums_are_those_of_the_accounts(folder: Path) -> None:
    charges = read_charges(folder)
    sums = charges.table.group_by("uid").aggregate([("charged", "sum")]).to_pylist()
    accounts = read_accounts(folder)
    assert {row["uid"]: row["charged_sum"] for row in sums} == {
        uid: account.charged for uid, account in accounts.items()
    }
    assert charges.ledger.accounts() == accounts
    assert charges.counted == 75


def test_a_run_that_has_asked_nothing_has_no_rows(tmp_path: Path) -> None:
    table = charges_table(tmp_path / "nowhere")
    assert (table.num_rows, table.schema) == (0, CHARGES)
    assert ledger_size(tmp_path / "nowhere", LocalFileSystem()) == 0


def test_a_torn_tail_is_left_out_and_a_damaged_line_is_an_error(folder: Path) -> None:
    whole = charges_table(folder)
    journal = folder / FILE
    content = journal.read_bytes()
    body = json.dumps({"sent": [["u00000", 2, 5]], "time": START}).encode()
    journal.write_bytes(content + b"%08x %b" % (zlib.crc32(body), body))  # no end of line
    assert charges_table(folder) == whole
    journal.write_bytes(content.replace(b'"images":7', b'"images":8'))
    with pytest.raises(CorruptRunError, match="the ledger is damaged"):
        charges_table(folder)


def in_folder(place: Path) -> FileSystem:
    return SubTreeFileSystem(str(place), LocalFileSystem())


def through_python(place: Path) -> FileSystem:
    """Reads go through Python code, as behind a filesystem that refuses some of them."""
    fsspec = pytest.importorskip("fsspec")
    return SubTreeFileSystem(str(place), PyFileSystem(FSSpecHandler(fsspec.filesystem("file"))))


@pytest.mark.parametrize("around", [in_folder, through_python])
def test_any_filesystem_will_do(folder: Path, around) -> None:
    filesystem = around(folder.parent)
    assert charges_table(Path(folder.name), filesystem) == charges_table(folder)
    assert ledger_size(Path(folder.name), filesystem) == (folder / FILE).stat().st_size


def test_a_ledger_in_segments(s3: S3) -> None:
    filesystem, folder = s3.fresh()
    journal = open_journal(folder, filesystem)
    journal.replay(Ledger())
    journal.append_open("u00000", 100, 0)
    asked = [key("u00000", number, 3) for number in range(4)]
    for one in asked:
        journal.append_sent([(one, 3)])
        journal.append_charges(answered(one))
    table = charges_table(folder, filesystem)
    assert table["request_id"].to_pylist() == [one.digest for one in asked]
    assert table["charged"].to_pylist() == [3] * 4
    assert ledger_size(folder, filesystem) > 0


class Refusing(FSSpecHandler):
    def open_input_file(self, path: str) -> pa.PythonFile:
        raise PermissionError(f"{path} lies outside")


def test_a_file_that_is_refused_is_told(folder: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    filesystem = PyFileSystem(Refusing(fsspec.filesystem("file")))
    with pytest.raises(StorageError, match="cannot read the ledger"):
        charges_table(folder, filesystem)


def test_how_the_teacher_answered(folder: Path) -> None:
    found = answers(charges_table(folder))
    assert found.seconds.tolist() == [1.0, 2.0, 1.0, 2.0]
    assert found.unanswered.select(["uid", "sequence", "sent"]).to_pylist() == [
        {"uid": "u00001", "sequence": 2, "sent": 4}
    ]
    assert found.again == 5
    nothing = answers(CHARGES.empty_table())
    assert (len(nothing.seconds), nothing.unanswered.num_rows, nothing.again) == (0, 0, 0)
