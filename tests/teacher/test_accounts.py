"""Accounts of a ledger that is read in a moment, and of none other."""

import os
from pathlib import Path

from edge_runs import book, build
from pyarrow.fs import LocalFileSystem

from raysys.errors import CorruptRunError
from raysys.teacher.accounts import MOST_BYTES, quick_accounts

LOCAL = LocalFileSystem()


def test_the_accounts_of_a_small_ledger(tmp_path: Path) -> None:
    layout = build(tmp_path, "three")
    assert quick_accounts(layout.ledger, LOCAL) == {}
    book(layout)
    accounts = quick_accounts(layout.ledger, LOCAL)
    assert isinstance(accounts, dict)
    assert {uid: one.charged for uid, one in accounts.items()} == {
        "evaluation": 100, "u00000": 500, "u00001": 1000, "u00002": 1500
    }  # fmt: skip


def test_a_large_ledger_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "journal.jsonl").open("wb") as journal:
        os.truncate(journal.fileno(), MOST_BYTES + 1)
    assert quick_accounts(tmp_path, LOCAL) is None


def test_what_is_wrong_with_a_ledger_is_what_comes_back(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b"garbage\nmore garbage\n")
    assert isinstance(quick_accounts(tmp_path, LOCAL), CorruptRunError)
