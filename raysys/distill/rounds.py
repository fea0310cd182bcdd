"""Queries asked in rounds, from free candidates: in the order in which they are drawn, or by the student."""

from collections.abc import Callable

from torch import Tensor

from raysys.distill.method import Progress
from raysys.distill.pooled import PooledMethod
from raysys.distill.selection import pick

DRAWN_AT_ONCE = 4096
"""Candidates drawn together; those of a large budget would not fit into memory."""


class Rounds:
    """`rounds` rounds that take `method` to `queries` queries; `done` of them are behind it.

    `draw` is given a number and makes so many candidates, float32 (n, c, h, w) in [0, 1], or the fewer that
    there are. With `candidates` above 1 so many are drawn for one asked, and the student of the round before
    picks the unclear ones.
    """

    def __init__(
        self,
        method: PooledMethod,
        queries: float,
        rounds: int,
        candidates: int,
        draw: Callable[[int], Tensor],
    ) -> None:
        self._method = method
        self._queries = queries
        self._rounds = rounds
        self._candidates = candidates
        self._draw = draw
        self.done = 0

    def step(self) -> Progress | None:
        """One more round with its passes, or None after the last: see `PooledMethod.step`."""
        if self.done == self._rounds:
            return None
        method = self._method
        self.done += 1
        until = round(self._queries * self.done / self._rounds)
        block = max(1, DRAWN_AT_ONCE // self._candidates)
        samples = None
        while (n := min(method.remaining, until - method.queries, block)) > 0:
            with method.watch("generate"):
                drawn = self._draw(n * self._candidates)
                if len(drawn) > n:
                    drawn = drawn[pick(method.student, drawn.to(method.device), n).cpu()]
            if (asked := method.ask_into_pool(drawn)) is not None:
                samples = asked
        return Progress({"student": method.run_passes()}, samples)
