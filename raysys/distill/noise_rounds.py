"""Method `noise`, and the warm-up of other methods: noise asked in rounds, chosen by the student.

Baselines of every comparison: uniform noise, and the structured noise of `distill.noise`. With candidates
above 1 each round asks those images of many that the student of the round before finds unclear.
"""

from typing import Any

from torch import Tensor

from raysys.distill.method import Progress, Setting
from raysys.distill.noise import structured_noise, uniform_noise
from raysys.distill.noise_options import NoiseOptions
from raysys.distill.pooled import PooledMethod
from raysys.distill.selection import pick

NOISE_AT_ONCE = 4096
"""Noise images made together; those of a large budget would not fit into memory."""


class NoiseRounds:
    """`rounds` rounds that take `method` to `queries` queries; `done` of them are behind it."""

    def __init__(self, method: PooledMethod, queries: float, rounds: int, candidates: int, kind: str) -> None:
        self._method = method
        self._queries = queries
        self._rounds = rounds
        self._candidates = candidates
        self._kind = kind
        self.done = 0

    def step(self) -> Progress | None:
        """One more round with its passes, or None after the last: see `PooledMethod.step`."""
        if self.done == self._rounds:
            return None
        method = self._method
        self.done += 1
        until = round(self._queries * self.done / self._rounds)
        block = max(1, NOISE_AT_ONCE // self._candidates)
        samples = None
        while (n := min(method.remaining, until - method.queries, block)) > 0:
            noise = self._noise(n * self._candidates)
            if self._candidates > 1:
                noise = noise[pick(method.student, noise.to(method.device), n).cpu()]
            if (asked := method.ask_into_pool(noise)) is not None:
                samples = asked
        return Progress({"student": method.run_passes()}, samples)

    def _noise(self, n: int) -> Tensor:
        task, rng = self._method.task, self._method.rng
        if self._kind == "uniform":
            return uniform_noise(n, task.image_shape, rng)
        return structured_noise(n, task.image_shape, task.flip, rng)


class Noise(PooledMethod):
    """Method `noise`: Q queries in R rounds of Q/R; no image depends on an answer but through the student."""

    def __init__(self, setting: Setting, options: NoiseOptions) -> None:
        super().__init__(setting, options)
        self._rounds = NoiseRounds(
            self, options.query_budget, options.rounds, options.candidates, options.kind
        )

    def step(self) -> Progress | None:
        """See `PooledMethod.step`."""
        return self._rounds.step()

    def state_dict(self) -> dict[str, Any]:
        """See `Method.state_dict`."""
        return {**super().state_dict(), "rounds": self._rounds.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Method.load_state_dict`."""
        super().load_state_dict(state)
        self._rounds.done = state["rounds"]
