"""The ledger's accounts for who waits for an answer: only of a ledger that is read in a moment."""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Charged:
    """Queries charged to a run (images); at least so many where its ledger is not known."""

    queries: int
    exact: bool = True

    def __str__(self) -> str:
        return f"{self.queries:,}" if self.exact else f"at least {self.queries:,}"


def charged(told: int, accounts: Mapping[str, Account] | RaysysError | None) -> Charged:
    """What was charged to a run whose tables told of `told` queries, by its ledger's `quick_accounts`.

    Reports are behind the ledger while trials work, and after a kill.
    """
    if accounts is None or isinstance(accounts, RaysysError):
        return Charged(told, exact=False)
    return Charged(max(told, sum(account.charged for account in accounts.values())))
