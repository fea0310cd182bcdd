"""Dynamic batching as a plain queue: take what waits, in order, up to a number of rows."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """A first-in first-out queue of items with row counts."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._waiting: deque[tuple[T, int]] = deque()

    def put(self, item: T, rows: int) -> None:
        """Queue an item of `rows` images."""
        self._waiting.append((item, rows))

    def take(self) -> list[T]:
        """The next items of together at most `max_rows`; a larger one comes alone. Empty if none waits."""
        batch: list[T] = []
        total = 0
        while self._waiting and (not batch or total + self._waiting[0][1] <= self._max_rows):
            item, rows = self._waiting.popleft()
            batch.append(item)
            total += rows
        return batch

    def __len__(self) -> int:
        return len(self._waiting)
