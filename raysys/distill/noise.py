"""Noise that a teacher may be asked about, without any network: uniform, and structured at many scales.

Natural images and drawings have power at all scales; uniform noise has it at one only, and a teacher
calls nearly all of it the same class. After the "hierarchical noise" of DIP-KD (arXiv 2604.25794), without
its contrastive step: noise fields from 2 pixels a side to the full size, summed with random weights. Half
of them become clouds (stretched, and mixed through blob-shaped masks), half become strokes (their level
lines, drawn with a pen of random width); all are warped.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.data.augment import augment


def uniform_noise(n: int, image_shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    """`n` images, float32 (n, c, h, w), every pixel uniform in [0, 1), drawn from `rng` (a CPU generator)."""
    return torch.rand(n, *image_shape, generator=rng)


def structured_noise(n: int, image_shape: tuple[int, int, int], flip: bool, rng: torch.Generator) -> Tensor:
    """`n` images, float32 (n, c, h, w) in [0, 1], drawn from `rng` (a CPU generator)."""
    if n == 1:  # half of two kinds
        return structured_noise(2, image_shape, flip, rng)[:1]
    clouds = augment(_clouds(_fields(n - n // 2, image_shape, rng), rng), 1.0, flip, rng)
    partner = clouds[torch.randperm(len(clouds), generator=rng)]
    mask = _blobs(len(clouds), image_shape, rng)
    strokes = augment(_strokes(_fields(n // 2, image_shape, rng), rng), 1.0, flip, rng)
    images = torch.cat([clouds * mask + partner * (1 - mask), strokes])
    return images[torch.randperm(n, generator=rng)]


def _fields(n: int, image_shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    """Sum of uniform noise at the sides 2, 3, 4, 6, 8, ... with random weights; mean 0, spread 1 an image."""
    channels, height, width = image_shape
    total = torch.zeros(n, channels, height, width)
    for side in _sides(min(height, width)):
        noise = torch.rand(n, channels, side, side, generator=rng) - 0.5
        field = F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
        # A high power makes one scale dominate each image: some are smooth, some are fine.
        total += field * torch.rand(n, 1, 1, 1, generator=rng) ** 3
    return total / total.flatten(1).std(dim=1).clamp_min(1e-6).view(n, 1, 1, 1)


def _sides(side: int) -> list[int]:
    sides, step = [], 2
    while step < side:
        sides += [step, step * 3 // 2]
        step *= 2
    return [s for s in sides if s < side] + [side]


def _clouds(fields: Tensor, rng: torch.Generator) -> Tensor:
    """Squash each image to [0, 1] with a random threshold and steepness."""
    n = len(fields)
    steepness = 1 + 7 * torch.rand(n, 1, 1, 1, generator=rng)
    threshold = 2 * torch.rand(n, 1, 1, 1, generator=rng) - 0.5
    return torch.sigmoid(steepness * (fields - threshold))


def _strokes(fields: Tensor, rng: torch.Generator) -> Tensor:
    """Bright where the field is near a random level: lines that wind, branch and close."""
    n = len(fields)
    level = 0.7 * torch.randn(n, 1, 1, 1, generator=rng)
    pen = 0.15 + 0.55 * torch.rand(n, 1, 1, 1, generator=rng)
    return torch.sigmoid(8 * (pen - (fields - level).abs()))


def _blobs(n: int, image_shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    """Blob-shaped masks of 0 and 1, (n, 1, h, w); for half of the images all 1: no mixing."""
    _, height, width = image_shape
    noise = torch.randn(n, 1, 3, 3, generator=rng)
    field = F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
    whole = torch.rand(n, 1, 1, 1, generator=rng) < 0.5
    return ((field > 0) | whole).float()
