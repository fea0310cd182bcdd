"""The teacher's door: checks, budgets, one forward for all that waits, one durable write, replies."""

import hashlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Lock

import numpy as np

from raysys.errors import LeaseError, RaysysError, UsageError
from raysys.oracle import BudgetExhausted, Images, Response
from raysys.records import Account, Task
from raysys.teacher.backend import Backend
from raysys.teacher.journal import Journal
from raysys.teacher.ledger import Charge, InFlight, Ledger, Recorded, Refused, RequestKey

Reply = Response | BudgetExhausted | RaysysError


@dataclass(frozen=True)
class Request:
    """`images` uint8 (n, c, h, w), asked by attempt `epoch` of account `uid` as its request `sequence`."""

    uid: str
    epoch: int
    sequence: int
    images: Images


@dataclass(frozen=True)
class Caps:
    """Limits of the whole run, in images: what is charged, and what is sent in all attempts (None: none)."""

    queries: int | None = None
    executed: int | None = None


class CostCapError(RaysysError):
    """Another attempt would pass the run's cap on what the teacher is sent."""


@dataclass(frozen=True)
class _Work:
    key: RequestKey
    images: Images
    reply: Future[Reply]


class TeacherService:
    """Serves requests in groups. The Ray actor and `raysys trial` both run this. Thread-safe.

    Charges and answers are durable before `serve` returns them; what could not be made durable was not
    charged.
    """

    def __init__(
        self, backend: Backend, task: Task, response: str, journal: Journal, caps: Caps | None = None
    ) -> None:
        caps = caps or Caps()
        self._backend = backend
        self._task = task
        self._soft = response == "soft"
        self._journal = journal
        self._ledger = Ledger(caps.queries, caps.executed)
        self._pending: dict[RequestKey, Future[Reply]] = {}
        self._lock = Lock()
        self._ended = False
        journal.replay(self._ledger)

    def open(self, uid: str, budget: int) -> int:
        """Open an account of `budget` images, or begin its next epoch: only the newest one gets answers.

        Returns the epoch's number, durable by then; a call that is repeated uses up another one. Raises
        LedgerError, StorageError.
        """
        with self._lock:
            epoch = self._ledger.next_epoch(uid, budget)
            self._journal.append_open(uid, budget, epoch)
            self._ledger.open(uid, budget, epoch)
            return epoch

    def close(self, uid: str) -> None:
        """The account's present epoch gets no more answers. Raises LedgerError, StorageError."""
        with self._lock:
            self._ledger.close(uid)  # first: an account that nobody opened must not get into the journal
            self._journal.append_close(uid)

    def serve(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply a request, in order; one request's error is no other's."""
        work: list[_Work] = []
        replies = [self._admit(request, work) for request in requests]
        if work:
            self._answer(work)
        return [reply.result() if isinstance(reply, Future) else reply for reply in replies]

    def accounts(self) -> dict[str, Account]:
        """All accounts by uid."""
        with self._lock:
            return self._ledger.accounts()

    def end(self, patience_s: float) -> None:
        """Answer no further request, and wait for those that are under way, at most `patience_s` seconds."""
        with self._lock:
            self._ended = True
            pending = list(self._pending.values())
        wait(pending, timeout=patience_s)

    def count(self, executed: int) -> None:
        """Tell the ledger how many images the teacher itself counted, unless requests are under way.

        Raises StorageError.
        """
        with self._lock:
            if self._ledger.can_count(executed):
                self._journal.append_counted(executed)
                self._ledger.count(executed)

    def _admit(self, request: Request, work: list[_Work]) -> Reply | Future[Reply]:
        """The reply, where there is one at once; else its future, and perhaps work to do."""
        try:
            key = self._key(request)
            with self._lock:
                if self._ended:
                    raise LeaseError(f"{request.uid} gets no more answers", "the run was ended")
                verdict = self._ledger.admit(key, request.epoch)
                if isinstance(verdict, Recorded):
                    return verdict.response
                if isinstance(verdict, Refused):
                    return BudgetExhausted(verdict.remaining)
                if not isinstance(verdict, InFlight):
                    self._pending[key] = Future()
                    work.append(_Work(key, request.images, self._pending[key]))
                return self._pending[key]
        except RaysysError as error:
            return error

    def _answer(self, work: Sequence[_Work]) -> None:
        """Forward, charge, reply. Hard answers come from one forward of all requests.

        The last bits of probabilities depend on what shares a forward, so soft answers are computed request
        by request: a trial gets the same ones alone.
        """
        groups = deque([[one] for one in work] if self._soft else [list(work)])
        try:
            while groups:
                self._answer_group(groups.popleft())
        finally:  # Ctrl-C in a forward: others may wait for the rest
            for group in groups:
                self._finish(group, dict.fromkeys((one.key for one in group), _interrupted()))

    def _answer_group(self, group: Sequence[_Work]) -> None:
        outcomes: dict[RequestKey, Reply] = dict.fromkeys((one.key for one in group), _interrupted())
        try:
            answers = self._forward(group)
            outcomes = {one.key: answer for one, answer in zip(group, answers, strict=True)}
        except Exception as error:  # the teacher may be anybody's
            outcomes = dict.fromkeys((one.key for one in group), _failure(error))
        finally:
            self._finish(group, outcomes)

    def _finish(self, group: Sequence[_Work], outcomes: dict[RequestKey, Reply]) -> None:
        with self._lock:
            self._charge(outcomes)
            for one in group:
                del self._pending[one.key]
        for one in group:
            one.reply.set_result(outcomes[one.key])

    def _charge(self, outcomes: dict[RequestKey, Reply]) -> None:
        """Make the answers durable, or none of them; bring the ledger up to date."""
        charges = [Charge(key, reply) for key, reply in outcomes.items() if isinstance(reply, Response)]
        try:
            if charges:
                self._journal.append_charges(charges)
        except Exception as error:  # whatever it is: a request that stays reserved blocks its repeats
            outcomes |= dict.fromkeys((charge.key for charge in charges), _failure(error))
        for key, reply in outcomes.items():
            if isinstance(reply, Response):
                self._ledger.settle(Charge(key, reply))
            else:
                self._ledger.release(key)
        for key, reply in outcomes.items():
            if isinstance(reply, CostCapError):
                outcomes[key] = BudgetExhausted(self._ledger.remaining(key.uid))

    def _forward(self, group: Sequence[_Work]) -> list[Response]:
        images = np.concatenate([one.images for one in group]) if len(group) > 1 else group[0].images
        response = self._backend.predict(images, _Meter(self, [one.key for one in group]))
        _check(response, len(images), self._task.num_classes)
        labels = response.labels.astype(np.int64)
        if self._soft:
            if response.probabilities is None:
                raise RaysysError("the teacher tells labels only", hint="use --response hard")
            return [Response(labels, response.probabilities.astype(np.float32))]
        ends = np.cumsum([one.key.images for one in group])
        return [Response(part) for part in np.split(labels, ends[:-1])]

    def _key(self, request: Request) -> RequestKey:
        images = request.images
        expected = self._task.image_shape
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected or not len(images):
            raise UsageError(
                f"the teacher of {self._task.dataset} takes uint8 images (n, c, h, w) with n >= 1"
                f" and (c, h, w) = {expected}",
                f"got {images.dtype} {images.shape}",
                "nothing was charged",
            )
        digest = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()[:32]
        return RequestKey(request.uid, request.sequence, digest, len(images))

    def meter(self, shares: Sequence[tuple[RequestKey, int]]) -> None:
        """Book an attempt that sends so many images of each admitted request. Raises CostCapError."""
        with self._lock:
            if not self._ledger.may_send(shares):
                raise CostCapError("the run's cap on cost leaves nothing for another attempt")
            self._journal.append_sent(shares)
            for key, images in shares:
                self._ledger.send(key, images)

    def unmeter(self, shares: Sequence[tuple[RequestKey, int]]) -> None:
        """Take an attempt back that never reached the teacher."""
        with self._lock:
            self._journal.append_sent((key, -images) for key, images in shares)
            for key, images in shares:
                self._ledger.unsend(key, images)


class _Meter:
    """A `backend.Meter` over the joined rows of a group."""

    def __init__(self, service: TeacherService, keys: Sequence[RequestKey]) -> None:
        self._service = service
        self._keys = keys

    def sent(self, start: int, stop: int) -> None:
        self._service.meter(self._shares(start, stop))

    def unsent(self, start: int, stop: int) -> None:
        self._service.unmeter(self._shares(start, stop))

    def _shares(self, start: int, stop: int) -> list[tuple[RequestKey, int]]:
        shares, first = [], 0
        for key in self._keys:
            overlap = min(stop, first + key.images) - max(start, first)
            if overlap > 0:
                shares.append((key, overlap))
            first += key.images
        return shares


class LocalOracle:
    """The oracle of one attempt of an account, over a service in this process."""

    def __init__(self, service: TeacherService, uid: str, budget: int) -> None:
        self._service = service
        self._uid = uid
        self.epoch = service.open(uid, budget)

    def ask(self, images: Images, sequence: int) -> Response | BudgetExhausted:
        """See `raysys.oracle.Oracle.ask`."""
        return unwrap(self._service.serve([Request(self._uid, self.epoch, sequence, images)])[0])


def unwrap(reply: Reply) -> Response | BudgetExhausted:
    """The reply, or its error raised."""
    if isinstance(reply, RaysysError):
        raise reply
    return reply


def _interrupted() -> RaysysError:
    return RaysysError("the teacher was interrupted", hint="nothing was charged")


def _check(response: Response, n: int, num_classes: int) -> None:
    labels, probabilities = response.labels, response.probabilities
    rows = {len(labels), n if probabilities is None else len(probabilities)}
    if rows != {n}:
        raise RaysysError(f"the teacher answered {min(rows - {n})} of {n} images", hint="nothing was charged")
    if probabilities is not None and probabilities.shape != (n, num_classes):
        raise RaysysError(
            f"the teacher answered with probabilities {probabilities.shape}, not {(n, num_classes)}",
            hint="nothing was charged",
        )
    if probabilities is not None and not np.isfinite(probabilities).all():
        raise RaysysError("the teacher answered with NaN or infinity", hint="nothing was charged")
    if not ((labels >= 0) & (labels < num_classes)).all():
        raise RaysysError(
            f"the teacher answered with a class outside of its {num_classes}", hint="nothing was charged"
        )


def _failure(error: Exception) -> RaysysError:
    if isinstance(error, RaysysError):
        return error
    return RaysysError(
        "the teacher could not answer", f"{type(error).__name__}: {error}", "nothing was charged"
    )
