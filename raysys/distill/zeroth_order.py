"""Gradients of a loss through a black box, from differences of its answers (DFME and MAZE, CVPR 2021).

DFME's generator needs the gradient of a loss that goes through the teacher, with respect to images x of d
values. It asks x + epsilon * u_k for m random unit vectors u_k, and x itself:

    gradient = d / m * sum_k (loss(x + epsilon u_k) - loss(x)) / epsilon * u_k

On a linear loss this is unbiased; the squared error is (d - 1) / m times the squared gradient, and the cosine
to the truth about sqrt(m / (m + d - 1)): on 28x28 it is 0.03 for m = 1 and 0.11 for m = 10 (MAZE).

A real API takes 8 bits a pixel. The published epsilon, 1e-3, moves a pixel of a 28x28 image by 0.009 grey
levels: rounded, an image is asked twice and the estimate is 0, or it is the noise of the few pixels near a
half. So moves are better whole grey levels of images, u_k = +-1 / sqrt(d) everywhere. Measured on 28x28,
m = 10, with a small ReLU network: a cosine of 0.109 for 1e-3 in images that are floats, of 0 in 8 bits, and
of 0.111 for 1 grey level, 0.106 for 8, 0.101 for 16. In the pre-activations of DFME 0.004 for 1e-3, 0.058 for
the length of 1 grey level, 0.106 for 16. So the default is images, and `images.backward(gradient)` takes the
estimate on to the generator.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.distill.grey_levels import GREY, on_grid


def recovered_logits(probabilities: Tensor, floor: float = 1e-12) -> Tensor:
    """Logits (n, K), mean 0 in each row, of probabilities (n, K): log p - mean log p (DFME).

    Softmax forgets a constant per image, which the mean fixes. Probabilities below `floor` count as it:
    half the last digit where an API rounds them, else zeros would be minus infinity.
    """
    logs = probabilities.clamp_min(floor).log()
    return logs - logs.mean(dim=1, keepdim=True)


def logit_distance(logits: Tensor, probabilities: Tensor, floor: float = 1e-12) -> Tensor:
    """Mean over classes of |student logits - recovered logits|, (n,): DFME's loss l1 of each image."""
    return (logits - recovered_logits(probabilities, floor)).abs().mean(dim=1)


@dataclass(frozen=True)
class Stencil:
    """The points to ask for the gradients at n places, and what their losses say.

    `images` float (n * (m + 1), c, h, w), whole grey levels in [0, 1]; the points of a place lie together,
    the centre and then its m moves. `moves` float (n, m, c, h, w), from the centre, in the space of x.
    """

    images: Tensor
    moves: Tensor

    def gradient(self, losses: Tensor) -> Tensor:
        """Estimates (n, c, h, w) of each place's gradient from `losses` (n * (m + 1),) at `images`."""
        n, m = self.moves.shape[:2]
        at = losses.view(n, m + 1)
        moves = self.moves.flatten(2)
        slopes = (at[:, 1:] - at[:, :1]) / moves.square().sum(dim=2).clamp_min(1e-30)
        gradient = (slopes[:, :, None] * moves).sum(dim=1) * moves.shape[2] / m
        return gradient.view(n, *self.moves.shape[2:])


def image_moves(images: Tensor, directions: int, levels: int, rng: torch.Generator) -> Stencil:
    """Moves of every pixel by `levels` grey levels up or down, `directions` at each of `images`.

    Images float (n, c, h, w) in [0, 1]; signs from `rng` (on the CPU). The centre is rounded, and so far
    inside of [0, 1] that no move is clamped: it would not be symmetric, and its mean leak into the estimate.
    """
    inside = min(levels * GREY, 0.5)
    centre = on_grid(images.detach().clamp(inside, 1 - inside))[:, None]
    shape = (len(images), directions, *images.shape[1:])
    signs = (torch.randint(0, 2, shape, generator=rng) * 2 - 1).to(images.device)
    moved = on_grid(centre + levels * GREY * signs)
    return Stencil(torch.cat([centre, moved], dim=1).flatten(0, 1), moved - centre)


def published_moves(
    values: Tensor,
    directions: int,
    epsilon: float,
    rng: torch.Generator,
    activation: Callable[[Tensor], Tensor],
) -> Stencil:
    """DFME's moves of length `epsilon`, `directions` at each of `values`, a generator's pre-activations.

    Values float (n, c, h, w); directions uniform on the sphere, from `rng` (on the CPU); `activation(values)`
    are images in [0, 1]. Moves count as meant: what rounding does to the images is noise.
    """
    centre = values.detach()[:, None]
    shape = (len(values), directions, *values.shape[1:])
    draws = torch.randn(len(values), directions, values[0].numel(), generator=rng)
    moves = epsilon * F.normalize(draws, dim=2).view(shape).to(values.device)
    points = torch.cat([centre, centre + moves], dim=1).flatten(0, 1)
    return Stencil(on_grid(activation(points)), moves)
