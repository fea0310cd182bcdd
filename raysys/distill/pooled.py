"""The base of methods that keep all they asked in a pool, and teach it by the shared recipe (`learner`)."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raysys.distill.image_pool import ImagePool
from raysys.distill.learner import Learner
from raysys.distill.method import Method, Progress, Setting
from raysys.distill.options import StudentOptions
from raysys.oracle import Images
from raysys.seeding import part_seed

SAMPLES = 64
"""Images of a batch that are shown."""


class PooledMethod(Method):
    """A method says in `step` how one more round asks; the pool, the student and the rest are here.

    `rng` is the method's only source of chance (a CPU generator); `pool` has every answered image.
    """

    def __init__(self, setting: Setting, options: StudentOptions) -> None:
        super().__init__(setting, options)
        config, task = setting.config, setting.task
        self._seed = config.seed
        self._final_passes = options.final_passes
        self.device = setting.device
        self.rng = torch.Generator().manual_seed(part_seed(config.seed, config.method))
        self.pool = ImagePool(task.image_shape, task.num_classes)
        self._engine = setting.engine
        self._learner = Learner(config.student, options, task, config.seed, setting.device, setting.engine)
        self._asking = True

    @abstractmethod
    def step(self) -> Progress | None:
        """One more round: ask, `run_passes`, tell; None, with nothing done, when there is none left.

        Where the method stands among its rounds is part of its `state_dict`.
        """

    @property
    def student(self) -> nn.Module:
        """See `Method.student`."""
        return self._learner.student

    @property
    def pool_size(self) -> int:
        """See `Method.pool_size`."""
        return len(self.pool)

    def run(self) -> Iterator[Progress]:
        """See `Method.run`: the method's rounds, then the final phases in parts."""
        while self._asking and not self.note and (progress := self.step()) is not None:
            yield progress
        self._asking = False
        while (loss := self._learner.final_part(self.pool, self.rng)) is not None:
            yield Progress({"student": loss})

    def preview(self) -> nn.Module:
        """See `Method.preview`: a copy of the student goes through the final phases on the pool so far."""
        if not self._final_passes:
            return super().preview()
        learner = self._learner.copied()
        rng = torch.Generator().manual_seed(part_seed(self._seed, f"preview/{self.queries}"))
        while learner.final_part(self.pool, rng) is not None:
            pass
        return learner.student.eval()

    def run_passes(self) -> float:
        """The student's passes over the pool after a round; the last one's mean loss."""
        return self._learner.run_passes(self.pool, self.rng)

    def ask_into_pool(self, images: Tensor) -> Images | None:
        """Ask images, float (n, c, h, w) in [0, 1], and keep what was asked with its answers.

        Returns some of what was asked, to be shown, or None where nothing could be. Where a cap leaves room
        for a part only, the first are asked: order them so that any number of the first is a fair choice.
        """
        asked = self.ask(to_bytes(images), lambda part: self.pool.add(part.images, part.response))
        return None if asked is None else samples(asked.images)

    def state_dict(self) -> dict[str, Any]:
        """See `Method.state_dict`."""
        return {
            **super().state_dict(),
            "rng": self.rng.get_state(),
            "pool": self.pool.state_dict(),
            "learner": self._learner.state_dict(),
            "asking": self._asking,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Method.load_state_dict`."""
        super().load_state_dict(state)
        self.rng.set_state(state["rng"])
        self.pool.load_state_dict(state["pool"])
        self._learner.load_state_dict(state["learner"])
        self._asking = state["asking"]


def to_bytes(images: Tensor) -> Images:
    """Float images in [0, 1] as an API takes them: uint8."""
    pixels: Images = (images.detach() * 255).round().to(torch.uint8).cpu().numpy()
    return pixels


def samples(images: Images) -> Images:
    """The first few of what was asked, to be shown."""
    return np.ascontiguousarray(images[:SAMPLES])
