"""Samples without data: noise that is moved away from the teacher's boundaries (ZSDB3KD, Wang, ICML 2021)."""

import torch
from torch import Tensor

from raysys.distill.boundary import Boundaries, Search
from raysys.distill.grey_levels import on_grid


def pseudo_noise(n: int, image_shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    """First images, float (n, c, h, w) in [0, 1], from `rng` (on the CPU): s (uniform + 0.2) + t normal.

    s and t are uniform, for each image. The release draws on until the teacher gave each class 200; all that
    it refuses was asked, too.
    """
    uniform = torch.rand(n, *image_shape, generator=rng) + 0.2
    normal = torch.randn(n, *image_shape, generator=rng)
    scales = torch.rand(2, n, 1, 1, 1, generator=rng)
    return (scales[0] * uniform + scales[1] * normal).clamp(0, 1)


def move_away(rows: Boundaries, step: float, halvings: int) -> Search:
    """Move the samples of rows, targets ANY_OTHER, by the length `step` straight away from their witnesses.

    A sample whose label changes tries half the step, at most `halvings` times (the release: without end), and
    else stays. Costs a row 1 query, and 1 for each halving. Samples stay whole grey levels, were asked, and
    keep label and witness (the release searches anew from random directions). Rows without a witness are
    left out.
    """
    index = rows.distance.isfinite().nonzero()[:, 0]
    away = -rows.lines(index)
    for halving in range(halvings + 1):
        if not len(index):
            return
        points = rows.samples[index] + step / 2**halving * away
        side = (yield from rows.ask(index, points[None]))[0]
        rows.move(index[side < 0], on_grid(points[side < 0]))
        index, away = index[side > 0], away[side > 0]
