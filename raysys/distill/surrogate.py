"""Method `surrogate`: real images, asked instead of made ones. NOT DATA-FREE.

What a student could reach if its owner had images like the teacher's, after Knockoff Nets (Orekondy, Schiele,
Fritz, CVPR 2019) with its `random` strategy: the loss is the cross-entropy to the teacher's answers,
-sum_k p_k log softmax(logits)_k. The images, uint8 (n, c, h, w), are the training images of the space's data
set, without their labels; those of another data set, which the paper asks too, are not offered.

Q queries in R rounds of Q / R images, drawn without replacement: the charge is min(Q, distinct images).

Deviations: the student learns by the shared recipe (`options.StudentOptions`), so that methods can be
compared. With candidates above 1 the student of the round before picks the unclear ones (`selection.pick`,
margin sampling); the paper's adaptive strategy is a bandit over the classes of the images, and no label is
given here.
"""

import hashlib
from typing import Any

import torch
from torch import Tensor

from raysys.distill.method import Progress, Setting
from raysys.distill.pooled import PooledMethod
from raysys.distill.rounds import Rounds
from raysys.distill.surrogate_options import SurrogateOptions
from raysys.oracle import Images


class Surrogate(PooledMethod):
    """Method `surrogate`: rounds of real images in random order, or chosen by the student."""

    def __init__(self, setting: Setting, options: SurrogateOptions) -> None:
        super().__init__(setting, options)
        if setting.images is None:
            raise ValueError("method surrogate is built with real images")
        self._images = setting.images
        self._unasked = {_content(image): number for number, image in enumerate(setting.images)}
        self._distinct = len(self._unasked)
        self._rounds = Rounds(self, options.query_budget, options.rounds, options.candidates, self._draw)

    @property
    def note(self) -> str:
        """See `Method.note`: it also ends when all images were asked."""
        left = self._budget - self.queries
        if super().note or self._unasked or not left:
            return super().note
        return (
            f"all {self._distinct:,} real images were asked;"
            f" {left:,} of {self._budget:,} queries were left unspent"
        )

    def step(self) -> Progress | None:
        """See `PooledMethod.step`."""
        return self._rounds.step()

    def ask_into_pool(self, images: Tensor) -> Images | None:
        """See `PooledMethod.ask_into_pool`."""
        before = len(self.pool)
        shown = super().ask_into_pool(images)
        self._were_asked(self.pool.images[before:])
        return shown

    def state_dict(self) -> dict[str, Any]:
        """See `Method.state_dict`."""
        return {**super().state_dict(), "rounds": self._rounds.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Method.load_state_dict`."""
        super().load_state_dict(state)
        self._rounds.done = state["rounds"]
        self._were_asked(self.pool.images)

    def _draw(self, n: int) -> Tensor:
        """At most `n` images that were not asked yet, float32 (m, c, h, w) in [0, 1], in random order."""
        numbers = torch.tensor(list(self._unasked.values()))
        chosen = numbers[torch.randperm(len(numbers), generator=self.rng)[:n]]
        return torch.from_numpy(self._images[chosen.numpy()]).float() / 255

    def _were_asked(self, images: Tensor) -> None:
        # By content: what an earlier attempt paid for may be other images than those of this one.
        for image in images.numpy():
            self._unasked.pop(_content(image), None)


def _content(image: Images) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
