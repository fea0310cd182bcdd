"""The shared teacher as a Ray actor, and a trial's view of it. No other file of this package knows Ray."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import ray
import torch
from ray.actor import ActorHandle

from raysys.errors import RaysysError, UnreachableError
from raysys.oracle import BudgetExhausted, Images, Response
from raysys.records import Account
from raysys.teacher.batcher import Batcher
from raysys.teacher.journal import Journal
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.local import TorchTeacher
from raysys.teacher.service import Reply, Request, TeacherService, unwrap

T = TypeVar("T")
Handle = ActorHandle[Any]

MAX_ROWS = 1024
"""The most images of several callers that one forward serves."""


class TeacherActor:
    """Batcher and service in an asyncio shell: while one group is served, the next one gathers.

    The service runs in one thread, so that groups are served in the order in which they came.
    """

    def __init__(
        self,
        kept: KeptTeacher,
        response: str,
        ledger_folder: str,
        max_queries: int | None,
        device: str,
    ) -> None:
        torch.set_num_threads(1)
        predict = TorchTeacher(kept.open(), device=device).predict
        journal = Journal(Path(ledger_folder))
        self._service = TeacherService(predict, kept.task, response, journal, max_queries)
        self._executor = ThreadPoolExecutor(max_workers=1)
        self._batcher: Batcher[tuple[Request, asyncio.Future[Reply]]] = Batcher(MAX_ROWS)
        self._drainer: asyncio.Task[None] | None = None

    async def open(self, uid: str, budget: int) -> None:
        """See `TeacherService.open`."""
        await self._in_thread(self._service.open, uid, budget)

    async def ask(self, uid: str, sequence: int, images: Images) -> Reply:
        """Queue a request and wait for its reply; an error is returned, not raised."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._batcher.put((Request(uid, sequence, images), reply), len(images))
        if self._drainer is None or self._drainer.done():
            self._drainer = asyncio.create_task(self._drain())
        return await reply

    async def accounts(self) -> dict[str, Account]:
        """All accounts by uid."""
        return await self._in_thread(self._service.accounts)

    async def _drain(self) -> None:
        while batch := self._batcher.take():
            try:
                replies = await self._in_thread(self._service.serve, [request for request, _ in batch])
            except Exception as error:  # a bug: its callers must not wait for ever
                replies = [RaysysError("the teacher service failed", repr(error))] * len(batch)
            for (_, future), reply in zip(batch, replies, strict=True):
                if not future.done():
                    future.set_result(reply)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)


def start_teacher(
    kept: KeptTeacher, response: str, ledger_folder: Path, max_queries: int | None, num_gpus: float
) -> Handle:
    """Start the actor beside the driver and wait until its ledger is read.

    Raises UnreachableError when it cannot start (its ledger is damaged, or held by another process).

    It takes no CPU slot, so that it never keeps a trial from being placed. It restarts after a crash
    and repeats the calls that were under way: the ledger makes that safe.
    """
    options = {"num_cpus": 0, "num_gpus": num_gpus, "max_restarts": -1, "max_task_retries": -1}
    actor = ray.remote(**options)(TeacherActor)  # type: ignore[call-overload]
    device = "cuda" if num_gpus else "cpu"
    handle: Handle = actor.remote(kept, response, str(ledger_folder), max_queries, device)
    _get(handle.accounts.remote())
    return handle


class ActorOracle:
    """The oracle of one account over the shared actor."""

    def __init__(self, handle: Handle, uid: str, budget: int) -> None:
        self._handle = handle
        self._uid = uid
        _get(handle.open.remote(uid, budget))

    def ask(self, images: Images, sequence: int) -> Response | BudgetExhausted:
        """See `raysys.oracle.Oracle.ask`. Raises UnreachableError when the actor is gone for good."""
        return unwrap(_get(self._handle.ask.remote(self._uid, sequence, images)))


def _get(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except (ray.exceptions.RayActorError, ray.exceptions.RaySystemError) as error:
        why = str(error).rpartition("Error: ")[2].strip()  # what it died of stands behind a traceback
        raise UnreachableError(
            "the teacher does not answer", why, "raysys tune --resume RUN goes on without a loss"
        ) from error
