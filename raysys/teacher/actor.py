"""The shared teacher as a Ray actor, its replicas, and a trial's view of it. No other file here knows Ray."""

import asyncio
import itertools
import logging
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import numpy as np
import ray
import torch
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysys.errors import RaysysError, UnreachableError
from raysys.oracle import BudgetExhausted, Images, Response
from raysys.records import Account
from raysys.source import check_code, code_id
from raysys.teacher.backend import Backend, Meter, Source
from raysys.teacher.lanes import Lanes
from raysys.teacher.local import MAX_ROWS
from raysys.teacher.local_link import LinkServer, LocalLink
from raysys.teacher.service import Reply, Request, unwrap
from raysys.teacher.setup import TeacherSetup

Handle = ActorHandle[Any]

WAITING = 128
"""Calls that the actor takes in; the images of later ones stay with their callers (back-pressure)."""
PATIENCE_S = 60.0
"""How long a run's end waits for requests that are under way."""
ATTEMPTS = 3
"""How often a forward is tried that dies with its replica."""
RETURN_S = 600.0
"""How long a lost replica may take to come back. Trials that wait for it may hold the GPU that it needs."""
INLINE_BYTES = 90_000
"""Ray puts an argument of more than 100 kB into its object store, which doubles what the call costs."""


class TeacherActor:
    """The service behind its two ways in: calls of Ray, and a socket for processes on this machine."""

    def __init__(self, setup: TeacherSetup, apart: bool) -> None:
        torch.set_num_threads(1)
        if setup.log is not None:  # what an actor writes to stderr is seen by nobody
            logger = logging.getLogger("raysys")
            logger.addHandler(logging.FileHandler(setup.log, delay=True))
            logger.setLevel(logging.INFO)
        backend: Backend = Replicas(setup) if apart else setup.source.backend(setup.device)
        self._service = setup.service(backend, setup.journal())
        # Soft requests are answered one by one: lanes share them, rather than one lane taking all that wait.
        rows = 1 if setup.response == "soft" and backend.lanes > 1 else backend.max_rows
        self._lanes = Lanes(self._service.serve, rows, backend.lanes)
        self._link: LinkServer | None = None
        with suppress(OSError):  # no such sockets here: there is Ray
            self._link = LinkServer(self._lanes.put)

    @ray.method(concurrency_group="control")
    async def open(self, uid: str, budget: int) -> int:
        """See `TeacherService.open`."""
        return self._service.open(uid, budget)

    @ray.method(concurrency_group="control")
    async def close(self, uid: str) -> None:
        """See `TeacherService.close`: what the account has queued is not served."""
        self._service.close(uid)

    @ray.method(concurrency_group="control")
    async def accounts(self) -> dict[str, Account]:
        """All accounts by uid."""
        return self._service.accounts()

    @ray.method(concurrency_group="control")
    async def count(self, executed: int) -> None:
        """See `TeacherService.count`."""
        self._service.count(executed)

    @ray.method(concurrency_group="control")
    async def address(self) -> str | None:
        """Where a `LocalLink` finds the teacher, on its own machine."""
        return self._link.address if self._link else None

    @ray.method(concurrency_group="control")
    async def end(self) -> None:
        """See `TeacherService.end`."""
        if self._link:
            self._link.close()
        await asyncio.get_running_loop().run_in_executor(None, self._service.end, PATIENCE_S)

    @ray.method(concurrency_group="ask")
    async def ask(self, uid: str, epoch: int, sequence: int, *parts: Images) -> Reply:
        """Queue a request, whose images come in parts, and wait for its reply: also an error is returned."""
        images = np.concatenate(parts)
        return await asyncio.wrap_future(self._lanes.put(Request(uid, epoch, sequence, images)))


class Replica:
    """One more copy of the network: stateless, the ledger stays with the teacher actor."""

    def __init__(self, source: Source, device: str, code: str) -> None:
        torch.set_num_threads(1)
        self._backend = source.backend(device)
        self._code = code

    def answer(self, images: Images) -> Response:
        """See `Backend.predict`; the teacher actor has counted the images."""
        check_code(self._code)
        return self._backend.predict(images, _Counted())

    @ray.method(max_task_retries=-1)
    def ready(self) -> None:
        """Comes back once the replica has been started again."""


class _Counted:
    def sent(self, start: int, stop: int) -> None:
        pass

    def unsent(self, start: int, stop: int) -> None:
        pass


class Replicas:
    """A `Backend` of `replicas` actors, spread over the cluster. One that dies is started again."""

    max_rows = MAX_ROWS

    def __init__(self, setup: TeacherSetup) -> None:
        options = {"num_cpus": 0, "num_gpus": setup.num_gpus, "max_restarts": -1}
        replica = ray.remote(scheduling_strategy="SPREAD", **options)(Replica)  # type: ignore[call-overload]
        self._free: SimpleQueue[Handle] = SimpleQueue()
        for _ in range(setup.replicas):
            self._free.put(replica.remote(setup.source, setup.device, code_id()))
        self.lanes = setup.replicas

    def predict(self, images: Images, meter: Meter) -> Response:
        """See `Backend.predict`."""
        for attempt in itertools.count(1):
            replica = self._free.get()
            meter.sent(0, len(images))
            try:
                answer: Any = ray.get(replica.answer.remote(images))
                return Response(answer.labels, answer.probabilities)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayActorError as error:
                if attempt == ATTEMPTS or not _is_back(replica):
                    raise UnreachableError("the teacher's replicas keep dying", str(error)) from error
            finally:
                self._free.put(replica)
        raise AssertionError("the loop ends by itself")

    def close(self) -> None:
        """See `Backend.close`: replicas end with the actor."""


def _is_back(replica: Handle) -> bool:
    """Wait until a replica was started again; False where it cannot be, or finds no place."""
    try:
        ray.get(replica.ready.remote(), timeout=RETURN_S)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return False
    return True


def start_teacher(setup: TeacherSetup) -> Handle:
    """Start the actor beside the driver and wait until its ledger is read.

    Raises UnreachableError when it cannot start (its ledger is damaged, or held by another process).

    Other nodes may be taken away while the run goes on, so the ledger stays on the driver's: a network that
    needs a GPU which is not there is a replica elsewhere. It takes no CPU slot, so that it never keeps a
    trial from being placed. It restarts after a crash and repeats the calls that were under way: the ledger
    makes that safe.
    """
    here = ray.get_runtime_context().get_node_id()
    has_gpu = any(node["NodeID"] == here and node["Resources"].get("GPU") for node in ray.nodes())  # type: ignore[no-untyped-call]
    apart = setup.replicas > 1 or (setup.num_gpus > 0 and not has_gpu)
    actor = ray.remote(  # type: ignore[call-overload]
        num_cpus=0,
        num_gpus=0 if apart else setup.num_gpus,
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=True),
        max_restarts=-1,
        max_task_retries=-1,
        concurrency_groups={"ask": WAITING, "control": 8},
    )(TeacherActor)
    handle: Handle = actor.remote(setup, apart)
    answer(handle.accounts.remote())
    return handle


class ActorOracle:
    """The oracle of one attempt of an account, over the shared actor."""

    def __init__(self, handle: Handle, uid: str, budget: int) -> None:
        self._handle = handle
        self._uid = uid
        self.epoch: int = answer(handle.open.remote(uid, budget))
        self._link: LocalLink | None = self._connected()

    def ask(self, images: Images, sequence: int) -> Response | BudgetExhausted:
        """See `raysys.oracle.Oracle.ask`. Raises UnreachableError when the actor is gone for good."""
        request, broken = (self._uid, self.epoch, sequence), False
        if self._link:
            try:
                return unwrap(self._link.ask(*request, images))
            except (OSError, EOFError):  # the actor may be starting again: Ray waits for it
                broken = True
        reply = answer(self._handle.ask.remote(*request, *in_parts(images)))
        if broken:
            self._link = self._connected()
        return unwrap(reply)

    def _connected(self) -> LocalLink | None:
        """The short way; None on another machine than the teacher's."""
        address = answer(self._handle.address.remote())
        with suppress(OSError):
            return LocalLink(address) if address else None
        return None


def in_parts(images: Images) -> list[Images]:
    """The images in order, in arguments that Ray sends along with a call."""
    return np.array_split(images, -(-images.nbytes // INLINE_BYTES) or 1)


def answer(reference: Any) -> Any:
    """What the actor answers. Raises UnreachableError when it is gone for good, RaysysError as it does."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RaysysError):
            raise error.cause from None
        raise
    except (ray.exceptions.RayActorError, ray.exceptions.RaySystemError) as error:
        why = str(error).rpartition("Error: ")[2].strip()  # what it died of stands behind a traceback
        raise UnreachableError(
            "the teacher does not answer", why, "raysys tune --resume RUN goes on without a loss"
        ) from error
