"""A pack: one process, with one place of a machine, for several trials of a run.

A relay that looks a pack up imports this module, and is spared torch, most of a worker's memory: what needs
that is imported in the pack alone.
"""

import os
import traceback
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import TYPE_CHECKING, Any

import ray

from raysys.cluster.pack_relay import PREFIX, Handle
from raysys.records import TrialConfig
from raysys.space.schema import Resources

if TYPE_CHECKING:
    from raysys.cluster.trainable import Send

CONTROL = 4
"""Short calls that a pack answers beside those that wait for its trials."""


class Left(BaseException):
    """Raised in a trial that has to leave its pack; no method catches it."""


class Member:
    """Work in a thread of its own that goes on only while somebody takes what it sends, as a generator does.

    So it asks the teacher nothing before it is known whether the scheduler stops it at what it has told.
    """

    def __init__(self, task: "Callable[[Send], None]", ended: Callable[[], object]) -> None:
        self._task = task
        self._ended = ended
        self._told: SimpleQueue[dict[str, Any] | Exception | None] = SimpleQueue()
        self._turn = Semaphore(0)
        self._left = False
        Thread(target=self._run, daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        """What it sends next; None when it has ended. Raises what the work raised."""
        self._turn.release()
        if isinstance(told := self._told.get(), Exception):
            raise told
        return told

    def leave(self) -> None:
        """End instead of sending the next result, or at once where the last one is not followed up yet."""
        self._left = True
        self._turn.release()

    def _run(self) -> None:
        last: Exception | None = None
        try:
            self._wait()
            self._task(self._send)
        except Left:
            last = RuntimeError("the trial was told to leave its pack")
        except Exception as error:
            last = error
        except BaseException as error:  # sys.exit, which ends this thread alone
            last = RuntimeError(repr(error))
        self._ended()
        self._told.put(last)

    def _send(self, result: dict[str, Any]) -> None:
        if not self._left:
            self._told.put(result)
        self._wait()

    def _wait(self) -> None:
        self._turn.acquire()
        if self._left:
            raise Left


class PackActor:
    """Up to `size` trials at once, by uid."""

    def __init__(self, size: int) -> None:
        from raysys.distill.pack import Pack

        self._size = size
        self._pack = Pack()
        self._members: dict[str, Member] = {}
        self._lock = Lock()

    @ray.method(concurrency_group="control")
    def room(self, uid: str) -> int:
        """How many trials may enter; -1 while an earlier attempt of this one, whose relay died, is here."""
        if member := self._members.get(uid):
            member.leave()
            return -1
        return self._size - len(self._members)

    @ray.method(concurrency_group="control")
    def enter(self, config: Mapping[str, Any], context: Any) -> bool:
        """Take a trial in, if there is room; see `relay` for `context`."""
        import torch

        from raysys.cluster.trainable import work

        trial = TrialConfig(**config)

        def task(send: "Send") -> None:
            try:
                with self._pack.member() as engine:
                    work(trial, ray.get(context[0]), send, engine)
            except torch.AcceleratorError:  # this process can use its GPU no more: a new one can
                traceback.print_exc()
                os._exit(1)

        with self._lock:
            if trial.uid in self._members or len(self._members) >= self._size:
                return False
            self._members[trial.uid] = Member(task, lambda: self._members.pop(trial.uid))
        return True

    def next(self, uid: str) -> dict[str, Any] | None:
        """See `Member.next`."""
        member = self._members.get(uid)
        if member is None:
            raise RuntimeError(f"the pack of {uid} was started again")
        return member.next()

    @ray.method(concurrency_group="control")
    def leave(self, uid: str) -> None:
        """See `Member.leave`; nothing where the trial is not here."""
        if member := self._members.get(uid):
            member.leave()


class Packs:
    """The packs of a run: its driver makes one more when there are more trials than places in them.

    Each holds what a trial alone would hold of a node. One that dies is started again. Of size 1 there are
    none: trials work alone.
    """

    def __init__(self, each: Resources, size: int) -> None:
        self._size = size
        self._actor = ray.remote(  # type: ignore[call-overload]
            num_cpus=each.cpus_per_trial,
            num_gpus=each.gpus_per_trial,
            max_restarts=-1,
            max_concurrency=size,
            concurrency_groups={"control": CONTROL},
        )(PackActor)
        self._packs: list[Handle] = []
        self._trials: set[str] = set()

    def expect(self, uid: str) -> None:
        """A trial will look for a place."""
        self._trials.add(uid)
        if self._size > 1 and len(self._trials) > self._size * len(self._packs):
            self._packs.append(self._actor.options(name=f"{PREFIX}{len(self._packs)}").remote(self._size))

    def dismiss(self, uid: str) -> None:
        """Tune is done with a trial: it leaves its pack."""
        self._trials.discard(uid)
        for pack in self._packs:
            pack.leave.remote(uid)

    def end(self) -> None:
        """No trial writes anything after this."""
        for pack in self._packs:
            ray.kill(pack)
