"""Every image a trial has asked, with the teacher's recorded answer: asked once, learnt from many times."""

import numpy as np
import torch
from torch import Tensor

from raysys.distill.losses import one_hot
from raysys.oracle import Images, Response


class ImagePool:
    """uint8 images (n, c, h, w) with labels (n,) and, from a soft teacher, probabilities (n, K)."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        self._num_classes = num_classes
        self._images = torch.empty((0, *image_shape), dtype=torch.uint8)
        self._labels = torch.empty(0, dtype=torch.int64)
        self._probabilities: Tensor | None = None

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def images(self) -> Tensor:
        """All images, uint8 (n, c, h, w), in the order in which they were asked."""
        return self._images

    def first(self, n: int) -> "ImagePool":
        """A pool of the first `n` images that were asked, with their answers."""
        part = ImagePool(tuple(self._images.shape[1:]), self._num_classes)  # type: ignore[arg-type]
        kept = {name: None if one is None else one[:n] for name, one in self.state_dict().items()}
        part.load_state_dict(kept)
        return part

    def add(self, images: Images, response: Response) -> None:
        """Append answered images."""
        self._images = torch.cat([self._images, torch.from_numpy(np.ascontiguousarray(images))])
        self._labels = torch.cat([self._labels, torch.tensor(response.labels)])
        if response.probabilities is not None:
            new = torch.tensor(response.probabilities)
            old = self._probabilities
            self._probabilities = new if old is None else torch.cat([old, new])

    def batch(self, indices: Tensor, device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
        """Images float32 (b, c, h, w) in [0, 1], and targets (b, K): one-hot, or from a soft teacher.

        `indices` (b,) are on the CPU; what goes to `device` is still 8 bits a pixel.
        """
        images = self._images.index_select(0, indices).to(device).float().div_(255)
        if self._probabilities is not None:
            return images, self._probabilities.index_select(0, indices).to(device)
        return images, one_hot(self._labels.index_select(0, indices).to(device), self._num_classes)

    def order(self, balance: bool, rng: torch.Generator) -> Tensor:
        """Indices (n,) for one pass: a permutation, or draws that even out the teacher's classes.

        Balanced draws weigh an image with 1 / sqrt(images of its class): halfway, on the log scale, to
        equal classes, so that a few images of a rare class are not learnt by heart.
        """
        if not balance or not len(self):  # nothing can be drawn from nothing
            return torch.randperm(len(self), generator=rng)
        counts = torch.bincount(self._labels, minlength=self._num_classes).float()
        weights = counts.clamp_min(1).rsqrt()[self._labels]
        return torch.multinomial(weights, len(self), replacement=True, generator=rng)

    def state_dict(self) -> dict[str, Tensor | None]:
        """The whole pool."""
        return {"images": self._images, "labels": self._labels, "probabilities": self._probabilities}

    def load_state_dict(self, state: dict[str, Tensor | None]) -> None:
        """Take over a saved pool."""
        images, labels = state["images"], state["labels"]
        if images is None or labels is None:
            raise ValueError("a pool's state has images and labels")
        self._images, self._labels, self._probabilities = images, labels, state["probabilities"]
