"""The queue before the teacher's door: while groups are served, the next one gathers."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from raysys.errors import RaysysError
from raysys.teacher.batcher import Batcher
from raysys.teacher.service import Reply, Request

Serve = Callable[[Sequence[Request]], list[Reply]]


class Lanes:
    """Serves what waits in groups of at most `max_rows` images, `lanes` groups at once. Thread-safe."""

    def __init__(self, serve: Serve, max_rows: int, lanes: int) -> None:
        self._serve = serve
        self._batcher: Batcher[tuple[Request, Future[Reply]]] = Batcher(max_rows)
        self._lock = Lock()
        self._free = lanes
        self._threads = ThreadPoolExecutor(lanes)

    def put(self, request: Request) -> Future[Reply]:
        """Queue a request; an error is its reply, never raised."""
        reply: Future[Reply] = Future()
        with self._lock:
            self._batcher.put((request, reply), len(request.images))
            if self._free:
                self._free -= 1
                self._threads.submit(self._work)
        return reply

    def _work(self) -> None:
        while batch := self._take():
            try:
                replies = self._serve([request for request, _ in batch])
            except BaseException as error:  # a bug: its callers must not wait for ever
                replies = [RaysysError("the teacher service failed", repr(error))] * len(batch)
            for (_, future), reply in zip(batch, replies, strict=True):
                if future.set_running_or_notify_cancel():
                    future.set_result(reply)

    def _take(self) -> list[tuple[Request, Future[Reply]]]:
        with self._lock:
            batch = self._batcher.take()
            if not batch:
                self._free += 1  # in one step with the look at the empty queue: no request falls between
            return batch
