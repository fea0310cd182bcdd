"""Method `noise`, and the warm-up of other methods: images made without a network, asked in rounds.

Baselines of every comparison: uniform noise, and the structured noise of `distill.noise`; and a prior for
teachers of drawn shapes, `distill.scribbles`. With candidates above 1 the student of the round before picks
those of many that are asked.
"""

from typing import Any

from torch import Tensor

from raysys.distill.method import Progress, Setting
from raysys.distill.noise import structured_noise, uniform_noise
from raysys.distill.noise_options import NoiseOptions
from raysys.distill.pooled import PooledMethod
from raysys.distill.rounds import Rounds
from raysys.distill.scribbles import scribbles


class NoiseRounds(Rounds):
    """Rounds of noise, of `kind` uniform, structured or scribbles."""

    def __init__(self, method: PooledMethod, queries: float, rounds: int, candidates: int, kind: str) -> None:
        def draw(n: int) -> Tensor:
            task, rng = method.task, method.rng
            if kind == "uniform":
                return uniform_noise(n, task.image_shape, rng)
            if kind == "scribbles":
                return scribbles(n, task.image_shape, rng)
            return structured_noise(n, task.image_shape, task.flip, rng)

        super().__init__(method, queries, rounds, candidates, draw)


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
