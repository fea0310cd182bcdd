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

    `images` float32 (n, c, h, w) in [0, 1]; the result has the same shape, range and device, black where
    nothing is known. At `strength` 1 the extremes are 20 degrees, 20 % of size and a shift of 20 % of the
    side; they shrink linearly, and 0 returns the input itself. `rng` is a CPU generator: the same draws
    on every device. Differentiable in `images`.
    """
    if strength == 0:
        return images
    return warp(images, sent(draw_views(len(images), strength, flip, rng), images.device))


def sent(draws: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`. A plain copy would wait until a GPU has done all that it was given."""
    return (draws.pin_memory() if device.type == "cuda" else draws).to(device, non_blocking=True)


def draw_views(n: int, strength: float, flip: bool, rng: torch.Generator) -> Tensor:
    """The maps (n, 2, 3) by which `augment` changes `n` images, for `warp`; float32, on the CPU."""
    draws = torch.rand(n, 5, generator=rng) * 2 - 1
    angle, zoom, down, right = (strength * draws[:, :4]).unbind(1)
    angle = angle * math.radians(MAX_DEGREES)
    scale = 1 + zoom * MAX_SCALE
    mirror = draws[:, 4].sign() if flip else torch.ones(n)
    # From output to input coordinates in [-1, 1], where a side is 2 long.
    first = torch.stack([mirror * scale * angle.cos(), -scale * angle.sin(), right * 2 * MAX_SHIFT], 1)
    second = torch.stack([mirror * scale * angle.sin(), scale * angle.cos(), down * 2 * MAX_SHIFT], 1)
    return torch.stack([first, second], 1)


def warp(images: Tensor, views: Tensor) -> Tensor:
    """`images`, float32 (n, c, h, w) in [0, 1], under affine maps (n, 2, 3) of the places of their pixels.

    The maps are those of `F.affine_grid`, which takes longer than the sampling: its grid is n small products.
    """
    n, _, height, width = images.shape
    rows, columns = (
        (torch.arange(side, device=images.device) * 2 + 1) / side - 1 for side in (height, width)
    )
    places = torch.stack(
        [
            columns.expand(height, -1),
            rows.unsqueeze(1).expand(-1, width),
            torch.ones(height, width, device=images.device),
        ]
    )
    grid = (views.reshape(2 * n, 3) @ places.view(3, -1)).view(n, 2, height, width).permute(0, 2, 3, 1)
    # Interpolation weights sum to 1 only up to rounding.
    return F.grid_sample(images, grid, align_corners=False).clamp_(0, 1)


def flip_and_crop(images: Tensor, padding: int, rng: torch.Generator) -> Tensor:
    """Mirror each image half of the time; pad it with black and crop it back at a random place.

    `images` float (n, c, h, w); `padding` in pixels on each side, 0 only mirrors. What a mirrored image shows
    may be of another class, as of digits. `rng` is a CPU generator. Differentiable in `images`.
    """
    return crop(images, padding, sent(draw_crops(len(images), padding, rng), images.device))


def draw_crops(n: int, padding: int, rng: torch.Generator) -> Tensor:
    """What `flip_and_crop` draws for `n` images, for `crop`: mirrored or not, down, right; int64 (n, 3)."""
    mirrored = (torch.rand(n, generator=rng) < 0.5).long()
    if not padding:
        return torch.stack([mirrored, torch.zeros_like(mirrored), torch.zeros_like(mirrored)], 1)
    down, right = torch.randint(2 * padding + 1, (2, n), generator=rng)
    return torch.stack([mirrored, down, right], 1)


def crop(images: Tensor, padding: int, places: Tensor) -> Tensor:
    """Images (n, c, h, w), mirrored and cropped as `places` (n, 3) of `draw_crops` say."""
    n, channels, height, width = images.shape
    mirrored, down, right = places.view(n, 3, 1, 1, 1).unbind(1)
    images = torch.where(mirrored > 0, images.flip(3), images)
    if not padding:
        return images
    here = images.device
    rows = down + torch.arange(height, device=here).view(height, 1)
    columns = right + torch.arange(width, device=here)
    which = torch.arange(n, device=here).view(n, 1, 1, 1)
    channel = torch.arange(channels, device=here).view(channels, 1, 1)
    return F.pad(images, (padding,) * 4)[which, channel, rows, columns]
