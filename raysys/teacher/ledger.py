"""The ledger: who may ask the teacher how much, what was sent, and what was answered. A pure state machine.

No file, clock or thread: `journal` makes it durable, `service` drives it. Life of a request:

    admit -> Recorded    the same request was answered before: reply from the record, charge nothing
          -> InFlight    the same request is being answered: wait for that answer
          -> Refused     it would pass a budget: charge nothing
          -> Admitted    images are reserved; each attempt is booked by `send` before it is made (and taken
                         back by `unsend` if it never reached the teacher); then `settle` (answered) or
                         `release` (it failed)
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from raysys.errors import LeaseError, LedgerError
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
    """A settled request: its images are queries, charged once."""

    key: RequestKey
    response: Response


@dataclass(frozen=True)
class Recorded:
    """The request was settled before."""

    response: Response


@dataclass(frozen=True)
class InFlight:
    """The request is admitted already and not settled yet."""


@dataclass(frozen=True)
class Refused:
    """The request would pass a budget; `remaining` images may still be asked."""

    remaining: int


@dataclass(frozen=True)
class Admitted:
    """The request's images are reserved."""


@dataclass
class _Reservation:
    key: RequestKey
    unsent: int
    """Images whose first attempt is still to come."""


@dataclass
class _Book:
    budget: int
    epoch: int
    closed: bool = False
    charged: int = 0
    reserved_images: int = 0
    sent: int = 0
    reserved: dict[int, _Reservation] = field(default_factory=dict)
    charges: dict[int, Charge] = field(default_factory=dict)
    asked_again: list[int] = field(default_factory=list)


class Ledger:
    """All accounts of a run. Counts are images.

    `max_queries` limits what all accounts are charged, `max_executed` what is sent for them in all attempts:
    the latter is what a server may bill (None: no limit).

    Guarantees: charged + reserved never passes a budget, sent + still to be sent never `max_executed`; a
    sequence number is charged at most once; the same number with other content raises LedgerError; an
    attempt of a trial that was closed, or followed by a newer one, gets nothing (LeaseError).
    """

    def __init__(self, max_queries: int | None = None, max_executed: int | None = None) -> None:
        self._max_queries = max_queries
        self._max_executed = max_executed
        self._books: dict[str, _Book] = {}
        self._committed = 0
        self._exposed = 0

    def next_epoch(self, uid: str, budget: int) -> int:
        """The number of the account's next epoch (attempt): 0, 1, ...

        Raises LedgerError for another budget.
        """
        book = self._books.get(uid)
        if book is None:
            return 0
        if book.budget != budget:
            raise LedgerError(
                f"account {uid} was opened with a budget of {book.budget} images, not {budget}",
                "a trial's budget never changes",
            )
        return book.epoch + 1

    def open(self, uid: str, budget: int, epoch: int) -> None:
        """Open an account that may charge `budget` images, or begin another epoch of it, closed or not."""
        book = self._books.setdefault(uid, _Book(budget, epoch))
        book.epoch, book.closed = epoch, False

    def close(self, uid: str) -> None:
        """Nothing more is answered to the account's present epoch; what is in flight is still settled."""
        self._book(uid).closed = True

    def admit(self, key: RequestKey, epoch: int) -> Recorded | InFlight | Refused | Admitted:
        """Decide about a request. Raises LedgerError (unknown account, changed content), LeaseError."""
        book = self._book(key.uid)
        self._check_lease(key.uid, book, epoch)
        charge, reservation = book.charges.get(key.sequence), book.reserved.get(key.sequence)
        earlier = charge.key if charge else reservation.key if reservation else key
        if earlier != key:
            raise LedgerError(
                f"request {key.uid}/{key.sequence} came again with other images",
                f"first {earlier.images} images {earlier.digest}, now {key.images} images {key.digest}",
                "the trial does not replay its requests in the same order: please report this bug",
            )
        if charge:
            return Recorded(charge.response)
        if reservation:
            return InFlight()
        remaining = self.remaining(key.uid)
        if key.images > remaining:
            return Refused(remaining)
        book.reserved[key.sequence] = _Reservation(key, key.images)
        book.reserved_images += key.images
        self._committed += key.images
        self._exposed += key.images
        return Admitted()

    def may_send(self, shares: Iterable[tuple[RequestKey, int]]) -> bool:
        """False if sending so many images of each admitted request once more would pass `max_executed`."""
        again = sum(max(0, images - self._reservation(key).unsent) for key, images in shares)
        return self._max_executed is None or self._exposed + again <= self._max_executed

    def send(self, key: RequestKey, images: int) -> None:
        """Book that `images` of an admitted request are sent."""
        reservation = self._reservation(key)
        first = min(images, reservation.unsent)
        reservation.unsent -= first
        self._exposed += images - first
        self._book(key.uid).sent += images

    def unsend(self, key: RequestKey, images: int) -> None:
        """Take the last `send` back: the images never reached the teacher."""
        self._reservation(key).unsent += images
        self._book(key.uid).sent -= images

    def settle(self, charge: Charge) -> None:
        """Book an answered request that was admitted."""
        self.release(charge.key)
        self._book_charge(charge)

    def release(self, key: RequestKey) -> None:
        """Give back the reservation of an admitted request; what was sent stays booked."""
        book = self._book(key.uid)
        reservation = book.reserved.pop(key.sequence)
        book.reserved_images -= key.images
        self._committed -= key.images
        self._exposed -= reservation.unsent

    def replay_charge(self, charge: Charge) -> None:
        """Book a charge read from the journal."""
        if charge.key.sequence in self._book(charge.key.uid).charges:
            raise LedgerError(f"request {charge.key.uid}/{charge.key.sequence} stands twice in the journal")
        self._book_charge(charge)

    def replay_sent(self, uid: str, sequence: int, images: int) -> None:
        """Book images that the journal says were sent; a negative number takes back."""
        book = self._book(uid)
        book.sent += images
        self._exposed += images
        if sequence in book.charges:
            book.asked_again.append(sequence)

    def can_count(self, executed: int) -> bool:
        """True if the teacher itself may have counted `executed` images, and nothing is under way.

        What was answered surely was counted; what was sent without an answer may have been.
        """
        books = self._books.values()
        charged, sent = sum(book.charged for book in books), sum(book.sent for book in books)
        return charged <= executed <= sent and not any(book.reserved for book in books)

    def count(self, executed: int) -> None:
        """Take over what the teacher counted, where `can_count`; the images in doubt are the newest."""
        doubt = sum(book.sent for book in self._books.values()) - executed
        self._exposed -= doubt
        for book in reversed(self._books.values()):
            less = min(doubt, book.sent - book.charged)
            book.sent -= less
            doubt -= less

    def remaining(self, uid: str) -> int:
        """How many images the account may still ask."""
        book = self._book(uid)
        remaining = book.budget - book.charged - book.reserved_images
        if self._max_queries is not None:
            remaining = min(remaining, self._max_queries - self._committed)
        if self._max_executed is not None:
            remaining = min(remaining, self._max_executed - self._exposed)
        return max(0, remaining)

    def charges(self, uid: str) -> dict[int, RequestKey]:
        """The account's charged requests by sequence number."""
        return {sequence: charge.key for sequence, charge in self._book(uid).charges.items()}

    def asked_again(self, uid: str) -> list[int]:
        """Requests that the journal says were sent although their answer was recorded: there are none."""
        return self._book(uid).asked_again

    def accounts(self) -> dict[str, Account]:
        """All accounts by uid."""
        return {uid: Account(uid, book.charged, book.sent, book.budget) for uid, book in self._books.items()}

    def _book(self, uid: str) -> _Book:
        if uid not in self._books:
            raise LedgerError(f"no account {uid}: it must be opened before it asks")
        return self._books[uid]

    def _reservation(self, key: RequestKey) -> _Reservation:
        return self._book(key.uid).reserved[key.sequence]

    def _book_charge(self, charge: Charge) -> None:
        book = self._book(charge.key.uid)
        book.charges[charge.key.sequence] = charge
        book.charged += charge.key.images
        self._committed += charge.key.images

    @staticmethod
    def _check_lease(uid: str, book: _Book, epoch: int) -> None:
        if epoch != book.epoch:
            raise LeaseError(
                f"attempt {epoch} of {uid} gets no more answers", f"attempt {book.epoch} has begun"
            )
        if book.closed:
            raise LeaseError(f"{uid} gets no more answers", "the trial was ended")
