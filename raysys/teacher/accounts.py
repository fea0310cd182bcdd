"""The ledger's accounts for who waits for an answer: only of a ledger that is read in a moment."""

from pathlib import Path

from pyarrow.fs import FileSelector, FileSystem

from raysys.errors import RaysysError, StorageError
from raysys.records import Account
from raysys.teacher.journal import read_accounts

MOST_BYTES = 10_000_000
"""A larger ledger takes more than about half a second."""


def quick_accounts(folder: Path, filesystem: FileSystem) -> dict[str, Account] | RaysysError | None:
    """The accounts of the journal in `folder`, or why they cannot be read; None where it is too large."""
    try:
        files = filesystem.get_file_info(FileSelector(str(folder), allow_not_found=True, recursive=True))
        if sum(info.size or 0 for info in files) > MOST_BYTES:
            return None
        return read_accounts(folder, filesystem)
    except OSError as failure:
        return StorageError(f"cannot read {folder}", str(failure).partition("\n")[0])
    except RaysysError as failure:
        return failure
