"""Scribbles: what a pen might draw, without knowing any letter, digit or picture.

A prior for teachers of written or drawn shapes: thin lines are where such images are, and where noise is not.
No image and no class of anybody's data is in it. Each image has one to three strokes; a stroke is a smooth
curve (Catmull and Rom 1974) through a walk of two to six points whose direction drifts.
"""

import math

import torch
from torch import Tensor

STROKES = 3
POINTS = 6
"""The most points of a stroke's walk."""
DETAIL = 12
"""Places on a curve between two points: close enough that a pen leaves no gaps."""


def scribbles(n: int, image_shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    """`n` images, float32 (n, c, h, w) in [0, 1], drawn from `rng` (a CPU generator).

    Grey images are light on black; in colour, pen and ground have one random colour each.
    """
    channels, height, width = image_shape
    curves = _curves(_strokes(n * STROKES, rng)).view(n, STROKES, -1, 2)
    strokes = torch.randint(1, STROKES + 1, (n, 1), generator=rng)
    pen = 0.04 + 0.14 * torch.rand(n, 1, generator=rng)
    blur = 0.015 + 0.03 * torch.rand(n, 1, generator=rng)
    rows, columns = ((torch.arange(side) + 0.5) / side * 2 - 1 for side in (height, width))
    pixels = torch.cartesian_prod(rows, columns)
    drawn = zip(curves, strokes.flatten().tolist(), strict=True)
    distance = torch.stack([_nearest(own[:count].flatten(0, 1), pixels) for own, count in drawn])
    ink = torch.sigmoid((pen - distance) / blur).view(n, 1, height, width)
    if channels == 1:
        return ink
    colour, ground = torch.rand(2, n, channels, 1, 1, generator=rng)
    images: Tensor = ground + (colour - ground) * ink
    return images


def _strokes(n: int, rng: torch.Generator) -> Tensor:
    """Walks (n, POINTS, 2) as (row, column), each of random length, size and place inside the picture.

    A walk of fewer points stays where it ends.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=rng)

    def normal(*shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=rng)

    turns = 0.9 * normal(1) + 0.7 * normal(POINTS - 1)
    angles = 2 * math.pi * uniform(1) + turns.cumsum(1)
    going = torch.arange(1, POINTS) < torch.randint(2, POINTS + 1, (n, 1), generator=rng)
    lengths = (0.5 + uniform(POINTS - 1)) * going
    steps = torch.stack([angles.sin() * lengths, angles.cos() * lengths], 2)
    walks = torch.cat([torch.zeros(n, 1, 2), steps.cumsum(1)], 1)
    walks = walks - (walks.amax(1, keepdim=True) + walks.amin(1, keepdim=True)) / 2
    size = 0.15 + 0.6 * uniform(1, 1)
    room = (0.75 - size).clamp_min(0)
    return walks / walks.abs().amax((1, 2), keepdim=True) * size + (2 * uniform(1, 2) - 1) * room


def _curves(points: Tensor) -> Tensor:
    """Catmull-Rom curves through `points` (n, k, 2): (n, (k - 1) * DETAIL, 2)."""
    before = 2 * points[:, :1] - points[:, 1:2]
    after = 2 * points[:, -1:] - points[:, -2:-1]
    padded = torch.cat([before, points, after], 1).unsqueeze(2)
    a, b, c, d = padded[:, :-3], padded[:, 1:-2], padded[:, 2:-1], padded[:, 3:]
    t = torch.linspace(0, 1, DETAIL).view(1, 1, -1, 1)
    curve = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return curve.flatten(1, 2)


def _nearest(places: Tensor, pixels: Tensor) -> Tensor:
    """How far each of `pixels` (m, 2) is from the nearest of `places` (k, 2): (m,)."""
    # |a - b|^2 = |a|^2 - 2 ab + |b|^2; for one image alone it stays in a CPU's cache.
    squares = torch.addmm(places.square().sum(1, keepdim=True), places, pixels.t(), alpha=-2).amin(0)
    return (squares + pixels.square().sum(1)).clamp_min(0).sqrt()
