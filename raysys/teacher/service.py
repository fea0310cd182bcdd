"""The teacher's door: checks, budgets, one forward for all that waits, one durable write, replies."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from raysys.errors import RaysysError, UsageError
from raysys.oracle import BudgetExhausted, Images, Response
from raysys.records import Account, Task
from raysys.teacher.journal import Journal
from raysys.teacher.ledger import Admitted, Charge, Ledger, Recorded, RequestKey

Reply = Response | BudgetExhausted | RaysysError


@dataclass(frozen=True)
class Request:
    """`images` uint8 (n, c, h, w), asked by the account `uid` as its request number `sequence`."""

    uid: str
    sequence: int
    images: Images


class TeacherService:
    """Serves requests in groups, for one thread. The Ray actor and `raysys trial` both run this.

    `predict` maps uint8 (n, c, h, w) to a Response with probabilities. Charges and answers are durable
    before `serve` returns them; what could not be made durable was not charged.
    """

    def __init__(
        self,
        predict: Callable[[Images], Response],
        task: Task,
        response: str,
        journal: Journal,
        max_queries: int | None = None,
    ) -> None:
        self._predict = predict
        self._task = task
        self._soft = response == "soft"
        self._journal = journal
        self._ledger = Ledger(max_queries)
        journal.replay(self._ledger)

    def open(self, uid: str, budget: int) -> None:
        """Open an account of `budget` images; again is harmless. Raises LedgerError, StorageError."""
        if not self._ledger.is_open(uid, budget):
            self._journal.append_account(uid, budget)
            self._ledger.open(uid, budget)

    def serve(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply a request, in order; one request's error is no other's."""
        replies: dict[int, Reply] = {}
        admitted: dict[RequestKey, list[int]] = {}
        for index, request in enumerate(requests):
            try:
                key = self._key(request)
                if key in admitted:  # a retry that waited beside its original
                    admitted[key].append(index)
                    continue
                verdict = self._ledger.admit(key)
            except RaysysError as error:
                replies[index] = error
                continue
            if isinstance(verdict, Admitted):
                admitted[key] = [index]
            elif isinstance(verdict, Recorded):
                replies[index] = verdict.response
            else:
                replies[index] = BudgetExhausted(verdict.remaining)
        if admitted:
            replies |= self._answer(requests, admitted)
        return [replies[index] for index in range(len(requests))]

    def accounts(self) -> dict[str, Account]:
        """All accounts by uid."""
        return self._ledger.accounts()

    def _answer(self, requests: Sequence[Request], admitted: dict[RequestKey, list[int]]) -> dict[int, Reply]:
        try:
            answers = self._forward([requests[indices[0]].images for indices in admitted.values()])
            charges = [Charge(key, key.images, answer) for key, answer in zip(admitted, answers, strict=True)]
            self._journal.append_charges(charges)
        except Exception as error:
            for key in admitted:
                self._ledger.release(key)
            failure = error if isinstance(error, RaysysError) else _failed(error)
            return {index: failure for indices in admitted.values() for index in indices}
        for charge in charges:
            self._ledger.settle(charge)
        return {index: charge.response for charge in charges for index in admitted[charge.key]}

    def _forward(self, groups: Sequence[Images]) -> list[Response]:
        """The teacher's answers to each group of images.

        Hard answers come from one forward of all groups. The last bits of probabilities depend on what
        shares a forward, so soft answers are computed group by group: a trial gets the same ones alone.
        """
        if self._soft:
            return [_checked(self._predict(images), len(images)) for images in groups]
        images = np.concatenate(groups)
        labels = _checked(self._predict(images), len(images)).labels
        return [Response(part) for part in np.split(labels, np.cumsum([len(group) for group in groups])[:-1])]

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
        digest = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:32]
        return RequestKey(request.uid, request.sequence, digest, len(images))


class LocalOracle:
    """The oracle of one account over a service in this process."""

    def __init__(self, service: TeacherService, uid: str, budget: int) -> None:
        self._service = service
        self._uid = uid
        service.open(uid, budget)

    def ask(self, images: Images, sequence: int) -> Response | BudgetExhausted:
        """See `raysys.oracle.Oracle.ask`."""
        return unwrap(self._service.serve([Request(self._uid, sequence, images)])[0])


def unwrap(reply: Reply) -> Response | BudgetExhausted:
    """The reply, or its error raised."""
    if isinstance(reply, RaysysError):
        raise reply
    return reply


def _checked(response: Response, n: int) -> Response:
    probabilities = response.probabilities
    rows = {len(response.labels), n if probabilities is None else len(probabilities)}
    if rows != {n}:
        raise RaysysError(f"the teacher answered {min(rows - {n})} of {n} images", hint="nothing was charged")
    if probabilities is not None and not np.isfinite(probabilities).all():
        raise RaysysError("the teacher answered with NaN or infinity", hint="nothing was charged")
    return response


def _failed(error: Exception) -> RaysysError:
    return RaysysError(
        "the teacher could not answer", f"{type(error).__name__}: {error}", "nothing was charged"
    )
