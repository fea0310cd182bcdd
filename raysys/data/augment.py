"""Batched augmentation: label-safe for the teacher's training and the student's pool, and as IDEAL crops."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_DEGREES = 20.0
MAX_SCALE = 0.2
MAX_SHIFT = 0.2


def augment(images: Tensor, strength: float, flip: bool, rng: torch.Generator) -> Tensor:
    """One random rotation, zoom and shift per image; mirrored half of the time where `flip` allows it.

    `images` float (n, c, h, w) in [0, 1]; the result has the same shape, range and device, black where
    nothing is known. At `strength` 1 the extremes are 20 degrees, 20 % of size and a shift of 20 % of the
    side; they shrink linearly, and 0 returns the input itself. `rng` is a CPU generator: the same draws
    on every device. Differentiable in `images`.
    """
    if strength == 0:
        return images
    n = len(images)
    draws = torch.rand(n, 5, generator=rng) * 2 - 1
    angle, zoom, down, right = (strength * draws[:, :4]).unbind(1)
    angle = angle * math.radians(MAX_DEGREES)
    scale = 1 + zoom * MAX_SCALE
    mirror = draws[:, 4].sign() if flip else torch.ones(n)
    # affine_grid maps output to input coordinates in [-1, 1], where a side is 2 long.
    first = torch.stack([mirror * scale * angle.cos(), -scale * angle.sin(), right * 2 * MAX_SHIFT], 1)
    second = torch.stack([mirror * scale * angle.sin(), scale * angle.cos(), down * 2 * MAX_SHIFT], 1)
    theta = torch.stack([first, second], 1).to(images.device, images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    # Interpolation weights sum to 1 only up to rounding.
    return F.grid_sample(images, grid, align_corners=False).clamp(0, 1)


def flip_and_crop(images: Tensor, padding: int, rng: torch.Generator) -> Tensor:
    """Mirror each image half of the time; pad it with black and crop it back at a random place.

    `images` float (n, c, h, w); `padding` in pixels on each side, 0 only mirrors. What a mirrored image shows
    may be of another class, as of digits. `rng` is a CPU generator. Differentiable in `images`.
    """
    n, channels, height, width = images.shape
    mirrored = (torch.rand(n, 1, 1, 1, generator=rng) < 0.5).to(images.device)
    images = torch.where(mirrored, images.flip(3), images)
    if not padding:
        return images
    down, right = torch.randint(2 * padding + 1, (2, n, 1), generator=rng)
    rows = (down + torch.arange(height)).view(n, 1, height, 1)
    columns = (right + torch.arange(width)).view(n, 1, 1, width)
    which, channel = torch.arange(n).view(n, 1, 1, 1), torch.arange(channels).view(1, channels, 1, 1)
    return F.pad(images, (padding,) * 4)[which, channel, rows, columns]
