"""Methods as somebody else's package has them: named by entry points or, in tests, by `METHODS`."""

from typing import Any, ClassVar

import torch

from raysys.distill.method import Progress
from raysys.distill.options import StudentOptions
from raysys.distill.pooled import PooledMethod


class PeekOptions(StudentOptions):
    implementation: ClassVar[str] = "own_methods:Peek"
    needs_images: ClassVar[bool] = True


class BlindOptions(StudentOptions):
    implementation: ClassVar[str] = "own_methods:Peek"


class SoftOptions(StudentOptions):
    implementation: ClassVar[str] = "own_methods:Peek"
    soft_only: ClassVar[bool] = True


class LostOptions(StudentOptions):
    implementation: ClassVar[str] = "own_methods:Nowhere"


class Peek(PooledMethod):
    """Asks the real images it was given, 20 a round, and black ones where it was given none."""

    def __init__(self, setting: Any, options: Any) -> None:
        super().__init__(setting, options)
        self.images = setting.images

    def step(self) -> Progress | None:
        n = min(20, self.remaining)
        if not n:
            return None
        if self.images is None:
            images = torch.zeros(n, *self.task.image_shape)
        else:
            images = torch.from_numpy(self.images[self.queries : self.queries + n]) / 255
        samples = self.ask_into_pool(images)
        return Progress({"student": self.run_passes()}, samples)
