"""What a student sees in one pass over the pool: batches of augmented, and perhaps mixed, images."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from raysys.data.augment import draw_views, warp
from raysys.distill.image_pool import ImagePool
from raysys.distill.options import StudentOptions
from raysys.records import Task

CPU_BLOCK = 2**17
"""Pixels prepared at once, but at least a batch: 0.5 MiB as floats, which a core's cache holds."""
GPU_BLOCK = 2**24
"""Pixels moved to a GPU at once, and prepared there: 64 MiB as floats."""


class Batches:
    """The batches of one pass as the recipe says: images float32 (b, c, h, w) in [0, 1], targets (b, K).

    All of a pass's chance is drawn from `rng` (a CPU generator) when it is made, some 40 bytes an image;
    images are made in blocks while they are read. Both are on `device`.
    """

    def __init__(
        self, pool: ImagePool, recipe: StudentOptions, task: Task, rng: torch.Generator, device: torch.device
    ) -> None:
        order, size = pool.order(recipe.balance, rng), recipe.train_batch
        if len(order) % size == 1:  # batch norm cannot learn from one image alone: it waits for another pass
            order = order[:-1]
        self._pool, self._order, self._size, self._device = pool, order, size, device
        self._views = draw_views(len(order), recipe.augment, task.flip, rng) if recipe.augment else None
        self._pairs = draw_pairs(len(order), size, recipe.mixup, rng) if recipe.mixup else None
        pixels = GPU_BLOCK if device.type == "cuda" else CPU_BLOCK
        self._block = size * max(1, pixels // (size * pool.images[:1].numel() or 1))

    def __len__(self) -> int:
        return -(-len(self._order) // self._size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self._order), self._block):
            prepared = self._prepared(slice(start, start + self._block))
            images, targets = (torch.split(values, self._size) for values in prepared)
            yield from zip(images, targets, strict=True)

    def _prepared(self, block: slice) -> tuple[Tensor, Tensor]:
        images, targets = self._pool.batch(self._order[block], self._device)
        if self._views is not None:
            images = warp(images, self._views[block].to(self._device))
        if self._pairs is not None:
            shares, partners = (drawn[block].to(self._device) for drawn in self._pairs)
            partners = partners - block.start
            images = mixed(images, shares.view(-1, 1, 1, 1), partners)
            targets = mixed(targets, shares.view(-1, 1), partners)
        return images, targets


def draw_pairs(n: int, size: int, alpha: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """A weight from Beta(alpha, alpha) for each of `n` images, and a partner of its batch of `size`.

    float32 (n,) and int64 (n,); both on the CPU (mixup, Zhang et al. 2018, eq. 1).
    """
    # torch draws Beta from its global state only.
    draws = np.random.default_rng(int(torch.randint(2**62, (), generator=rng))).beta(alpha, alpha, n)
    starts = range(0, n, size)
    partners = [start + torch.randperm(min(size, n - start), generator=rng) for start in starts]
    return torch.tensor(draws, dtype=torch.float32), torch.cat([torch.empty(0, dtype=torch.int64), *partners])


def mixed(values: Tensor, shares: Tensor, partners: Tensor) -> Tensor:
    """Convex pairs of `values` with their partners; `shares`, each one's own weight, as wide as `values`."""
    return values[partners].lerp_(values, shares)
