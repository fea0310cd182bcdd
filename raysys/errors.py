"""The exception tree. Every error a person can cause says what, why and what to do, and knows its exit code.

RaysysError                 1  unexpected
├── UsageError              2  bad command line or option value
│   ├── SpaceError          2  a space file or one of its keys
│   └── DataError           2  a data set that is missing or unreadable
├── StorageError            1  the disk is full, a file cannot be written or read
├── CorruptRunError         2  a run folder that is damaged, or none
├── LedgerError             1  a request that contradicts the ledger: a bug, never a user's mistake
├── LeaseError              1  a request of a trial, or of an attempt, that was ended
├── CheckError              3  finished, but a check does not hold
├── ResumeError             5  a run that cannot be resumed
└── UnreachableError        6  cluster or teacher unreachable, resources that can never be met
"""

import difflib
from collections.abc import Iterable


class RaysysError(Exception):
    """An error for a person: `what` happened, `why`, and what to do about it (`hint`)."""

    exit_code = 1

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return "\n  ".join(part for part in (self.what, self.why, self.hint) if part)

    def __reduce__(self) -> tuple[type["RaysysError"], tuple[str, str, str]]:
        return type(self), (self.what, self.why, self.hint)


class UsageError(RaysysError):
    """Bad usage or configuration, refused before any work."""

    exit_code = 2


class SpaceError(UsageError):
    """A space file, or a key of it, that cannot be used."""


class DataError(UsageError):
    """A data set that is missing or cannot be read."""


class StorageError(RaysysError):
    """A run's files cannot be written or read (a full disk, a read-only folder, an object store away)."""


class CorruptRunError(RaysysError):
    """A run folder that is damaged, or none."""

    exit_code = 2


class LedgerError(RaysysError):
    """A request that contradicts what the ledger recorded. Always a bug."""


class LeaseError(RaysysError):
    """A request of a trial that was ended, or of an attempt that a newer one replaced: not answered."""


class CheckError(RaysysError):
    """The work finished, but a check does not hold."""

    exit_code = 3


class ResumeError(RaysysError):
    """A run that cannot be resumed."""

    exit_code = 5


class UnreachableError(RaysysError):
    """The cluster or the teacher cannot be reached, or the resources can never be met."""

    exit_code = 6


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean: X?` for the known name nearest to `name`, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean: {matches[0]}?" if matches else ""
