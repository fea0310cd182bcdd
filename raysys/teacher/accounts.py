"""The ledger's accounts for who waits for an answer: only of a ledger that is read in a moment."""

from pathlib import Path

from pyarrow.fs import FileSystem

from raysys.errors import RaysysError
from raysys.records import Account
from raysys.teacher.charges import ledger_size
from raysys.teacher.journal import read_accounts

MOST_BYTES = 10_000_000
"""A larger ledger takes more than about half a second."""


def quick_accounts(folder: Path, filesystem: FileSystem) -> dict[str, Account] | RaysysError | None:
    """The accounts of the journal in `folder`, or why they cannot be read; None where it is too large."""
    try:
        return None if ledger_size(folder, filesystem) > MOST_BYTES else read_accounts(folder, filesystem)
    except RaysysError as failure:
        return failure
