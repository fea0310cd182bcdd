"""The ledger: who may ask the teacher how much, and what was answered. A pure state machine.

No file, clock or thread: `journal` makes it durable, `service` drives it. Life of a request:

    admit -> Recorded    the same request was answered before: reply from the record, charge nothing
          -> Refused     it would pass the account's or the run's budget: charge nothing
          -> Admitted    images are reserved; then `settle` (answered) or `release` (the forward failed)
"""

from dataclasses import dataclass, field

from raysys.errors import LedgerError
from raysys.oracle import Response
from raysys.records import Account


@dataclass(frozen=True)
class RequestKey:
    """What identifies a request within a run. `digest` is of the content, `images` counts them."""

    uid: str
    sequence: int
    digest: str
    images: int


@dataclass(frozen=True)
class Charge:
    """A settled request: `images` queries charged once, `executed` images that the teacher computed."""

    key: RequestKey
    executed: int
    response: Response


@dataclass(frozen=True)
class Recorded:
    """The request was settled before."""

    response: Response


@dataclass(frozen=True)
class Refused:
    """The request would pass a budget; `remaining` images may still be asked."""

    remaining: int


@dataclass(frozen=True)
class Admitted:
    """The request's images are reserved."""


@dataclass
class _Book:
    budget: int
    charged: int = 0
    executed: int = 0
    reserved: dict[int, RequestKey] = field(default_factory=dict)
    charges: dict[int, Charge] = field(default_factory=dict)

    @property
    def committed(self) -> int:
        return self.charged + sum(key.images for key in self.reserved.values())


class Ledger:
    """All accounts of a run. `max_queries` limits their sum (None: no limit).

    Guarantees: charged + reserved never passes a budget; a sequence number is charged at most once;
    the same number with other content raises LedgerError.
    """

    def __init__(self, max_queries: int | None = None) -> None:
        self._max_queries = max_queries
        self._books: dict[str, _Book] = {}

    def is_open(self, uid: str, budget: int) -> bool:
        """True if the account exists. Raises LedgerError if it exists with another budget."""
        book = self._books.get(uid)
        if book is not None and book.budget != budget:
            raise LedgerError(
                f"account {uid} was opened with a budget of {book.budget} images, not {budget}",
                "a trial's budget never changes",
            )
        return book is not None

    def open(self, uid: str, budget: int) -> None:
        """Open an account that may charge `budget` images."""
        self._books[uid] = _Book(budget)

    def admit(self, key: RequestKey) -> Recorded | Refused | Admitted:
        """Decide about a request. Raises LedgerError for an unknown account or a changed content."""
        book = self._book(key.uid)
        charge = book.charges.get(key.sequence)
        earlier = charge.key if charge else book.reserved.get(key.sequence, key)
        if earlier != key:
            raise LedgerError(
                f"request {key.uid}/{key.sequence} came again with other images",
                f"first {earlier.images} images {earlier.digest}, now {key.images} images {key.digest}",
                "the trial does not replay its requests in the same order: please report this bug",
            )
        if charge:
            return Recorded(charge.response)
        remaining = self.remaining(key.uid)
        if key.images > remaining:
            return Refused(remaining)
        book.reserved[key.sequence] = key
        return Admitted()

    def settle(self, charge: Charge) -> None:
        """Book an answered request that was admitted."""
        book = self._book(charge.key.uid)
        del book.reserved[charge.key.sequence]
        self._book_charge(book, charge)

    def release(self, key: RequestKey) -> None:
        """Give back the reservation of an admitted request that was not answered."""
        del self._book(key.uid).reserved[key.sequence]

    def replay(self, charge: Charge) -> None:
        """Book a charge read from the journal."""
        book = self._book(charge.key.uid)
        if charge.key.sequence in book.charges:
            raise LedgerError(f"request {charge.key.uid}/{charge.key.sequence} stands twice in the journal")
        self._book_charge(book, charge)

    def remaining(self, uid: str) -> int:
        """How many images the account may still ask."""
        book = self._book(uid)
        remaining = book.budget - book.committed
        if self._max_queries is not None:
            remaining = min(remaining, self._max_queries - sum(b.committed for b in self._books.values()))
        return max(0, remaining)

    def accounts(self) -> dict[str, Account]:
        """All accounts by uid."""
        return {
            uid: Account(uid, book.charged, book.executed, book.budget) for uid, book in self._books.items()
        }

    def _book(self, uid: str) -> _Book:
        if uid not in self._books:
            raise LedgerError(f"no account {uid}: it must be opened before it asks")
        return self._books[uid]

    @staticmethod
    def _book_charge(book: _Book, charge: Charge) -> None:
        book.charges[charge.key.sequence] = charge
        book.charged += charge.key.images
        book.executed += charge.executed
