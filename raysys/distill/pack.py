"""Several trials of one process, each in its own thread, whose heavy parts are done together."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from raysys.distill.engine import Engine, Generation, Pass
from raysys.distill.together import Job, finish


class Roll:
    """Who is in a pack, and who of them waits for what: decides when it is time to work. Knows no threads."""

    def __init__(self) -> None:
        self._joined = 0
        self._waiting: dict[int, Job | None] = {}

    def join(self) -> int:
        """A new member's number."""
        self._joined += 1
        self._waiting[self._joined] = None
        return self._joined

    def leave(self, member: int) -> None:
        """Nobody waits for that member any more, and what it waits for, if anything, is not done."""
        del self._waiting[member]

    def wait(self, member: int, job: Job) -> None:
        """From now on the member waits for the job. Raises ValueError where it has left."""
        if member not in self._waiting:
            raise ValueError("this member has left its pack")
        self._waiting[member] = job

    def due(self) -> bool:
        """Whether there are members, and all wait."""
        return bool(self._waiting) and None not in self._waiting.values()

    def take(self) -> list[Job]:
        """The jobs that are due, in the order in which their members joined; none where none are due."""
        if not self.due():
            return []
        jobs = [job for job in self._waiting.values() if job]
        self._waiting = dict.fromkeys(self._waiting)
        return jobs


class Pack:
    """Trials of one process in step: what they ask of their engine at the same time is done together.

    A member's call blocks its thread until every member waits in a call or has left; then one of them does
    the work of all. So what is done together depends on what the members do, not on how fast they are. An
    error reaches the member whose work it is, and no other.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._roll = Roll()

    @contextmanager
    def member(self) -> Iterator[Engine]:
        """Join, from now to the end of the context: the member's engine, for one thread at a time.

        The others wait for a member that is in no call: leave as soon as there is nothing more to do.
        """
        with self._changed:
            number = self._roll.join()
        try:
            yield _Member(lambda work: self._do(number, work))
        finally:
            with self._changed:
                self._roll.leave(number)
                self._changed.notify_all()

    def _do(self, number: int, work: Generation | Pass) -> Any:
        job = Job(work)
        with self._changed:
            self._roll.wait(number, job)
            self._changed.wait_for(lambda: job.outcome.done() or self._roll.due())
            jobs = [] if job.outcome.done() else self._roll.take()
        # Unlocked, so that others may join meanwhile: what they ask for comes next.
        if jobs:
            self._work(jobs)
        return job.outcome.result()

    def _work(self, jobs: Sequence[Job]) -> None:
        try:
            finish(jobs)
        except BaseException as error:  # Ctrl-C: nobody shall wait for what will not be done
            for job in jobs:
                if not job.outcome.done():
                    job.outcome.set_exception(error)
            raise
        finally:
            with self._changed:
                self._changed.notify_all()


class _Member:
    """An `Engine` whose calls wait for those of the other members."""

    def __init__(self, do: Callable[[Generation | Pass], Any]) -> None:
        self._do = do

    def generate(self, work: Generation) -> tuple[Tensor, float]:
        """See `Engine.generate`."""
        result: tuple[Tensor, float] = self._do(work)
        return result

    def run_pass(self, work: Pass) -> float:
        """See `Engine.run_pass`."""
        result: float = self._do(work)
        return result
