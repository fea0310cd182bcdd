"""Gradients of a loss through a black box, from differences of its answers (DFME and MAZE, CVPR 2021).

DFME's generator needs the gradient of a loss that goes through the teacher, with respect to images x of d
values. It asks x + epsilon * u_k for m random unit vectors u_k, and x itself:

    gradient = d / m * sum_k (loss(x + epsilon u_k) - loss(x)) / epsilon * u_k

On a linear loss this is unbiased; the squared error is (d - 1) / m times the squared gradient, and the cosine
to the truth about sqrt(m / (m + d - 1)): on 28x28 it is 0.03 for m = 1 and 0.11 for m = 10 (MAZE).
Central differences ask 2 m points instead of m + 1 and have no error of second order: better for m = 1,
where both ask 2, and else worse, since the error of few directions is far larger.

A real API takes 8 bits a pixel. The published epsilon, 1e-3, moves a pixel of a 28x28 image by 0.009 grey
levels: rounded, an image is asked twice and the estimate is 0, or it is the noise of the few pixels near a
half. So an epsilon is better given in grey levels, see `step_length`; and moves of images count as they were
sent, not as they were meant. Measured on 28x28, m = 10, with a small ReLU network: a cosine of 0.109 for 1e-3
as floats; of 0 for 1e-3 in 8 bits, 0.111 for `signs` of 1 grey level, 0.106 for 8, and 0.101 for 16. In the
pre-activations of DFME, where moves can only count as meant: 0.004 for 1e-3, 0.058 for 1, 0.106 for 16. So
the default is images, and `images.backward(gradient)` takes the estimate on to the generator.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.distill.grey_levels import GREY, on_grid

Kind = Literal["sphere", "orthogonal", "signs"]
"""Unit vectors: uniform (DFME), uniform and orthogonal to each other, or +-1 / sqrt(d) everywhere."""

PUBLISHED_EPSILON = 1e-3
"""DFME's step, the length of a move in pre-tanh space; for teachers that take floats."""


def step_length(levels: float, image_shape: tuple[int, ...]) -> float:
    """The epsilon that moves a pixel by `levels` grey levels (root mean square) for images of this shape."""
    return levels * GREY * math.sqrt(math.prod(image_shape))


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

    `images` float (n * p, c, h, w) in [0, 1]; the p points of a place lie together: the centre and then the m
    moves, p = m + 1, or for `central` the m moves and then their opposites, p = 2 m. So the first j * p
    answers of a budget that ends serve the first j places. `moves` float (n, m, c, h, w): from the reference
    point (centre or opposite) to the other, in the space of x.
    """

    images: Tensor
    moves: Tensor
    central: bool

    def gradient(self, losses: Tensor) -> Tensor:
        """Estimates (n, c, h, w) of each place's gradient from `losses` (n * p,) at `images`."""
        n, m = self.moves.shape[:2]
        at = losses.view(n, -1)
        rise = at[:, :m] - at[:, m:] if self.central else at[:, 1:] - at[:, :1]
        moves = self.moves.flatten(2)
        squares = moves.square().sum(dim=2)
        slopes = torch.where(squares > 0, rise / squares.clamp_min(1e-30), 0.0)
        gradient = (slopes[:, :, None] * moves).sum(dim=1) * moves.shape[2] / m
        return gradient.view(n, *self.moves.shape[2:])

    @property
    def vanished(self) -> float:
        """Share of moves that rounding undid: queries that tell nothing."""
        n, m = self.moves.shape[:2]
        at = self.images.view(n, -1, *self.images.shape[1:])
        others, reference = (at[:, :m], at[:, m:]) if self.central else (at[:, 1:], at[:, :1])
        return float((others == reference).flatten(2).all(dim=2).float().mean())


def stencil(
    x: Tensor,
    directions: int,
    epsilon: float,
    rng: torch.Generator,
    *,
    kind: Kind = "sphere",
    central: bool = False,
    round_to_8_bits: bool = True,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> Stencil:
    """Draw `directions` moves of length `epsilon` at each of x, float (n, c, h, w), from `rng` (on the CPU).

    Without `activation` x is images in [0, 1], and a move is what is left of it after clamping and rounding.
    The centre itself is rounded, and moved one step inside of [0, 1]: a clamped move is not symmetric, and
    its mean would leak into the estimate. With `activation` x is a generator's pre-activations,
    `activation(x)` images in [0, 1] (DFME), and moves are as meant: what rounding does to images is noise.

    Orthogonal directions, at most d, have the squared error (d - m) / m instead of (d - 1) / m: they pay
    where m is not far below d. Raises ValueError for arguments that no estimate can be made of.
    """
    d = x[0].numel()
    if directions < 1 or not epsilon > 0:
        raise ValueError(f"{directions} directions of length {epsilon}: both must be positive")
    if kind == "orthogonal" and directions > d:
        raise ValueError(f"{directions} directions cannot be orthogonal in {d} dimensions")
    x = x.detach()
    if activation is None:
        inside = min(epsilon / math.sqrt(d), 0.5)
        x = x.clamp(inside, 1 - inside)
        x = on_grid(x) if round_to_8_bits else x
    meant = epsilon * _unit_vectors(x.shape, directions, kind, rng).to(x.device)
    centre = x[:, None]
    points = torch.cat([centre + meant, centre - meant] if central else [centre, centre + meant], dim=1)
    points = activation(points.flatten(0, 1)).view(points.shape) if activation else points.clamp(0, 1)
    points = on_grid(points) if round_to_8_bits else points
    if activation is None:
        sent = points[:, :directions] - points[:, directions:] if central else points[:, 1:] - centre
    else:
        sent = 2 * meant if central else meant
    return Stencil(points.flatten(0, 1), sent, central)


def _unit_vectors(shape: torch.Size, m: int, kind: Kind, rng: torch.Generator) -> Tensor:
    """(n, m, c, h, w), each of length 1."""
    n, d = shape[0], shape[1:].numel()
    if kind == "signs":
        vectors = (torch.randint(0, 2, (n, m, d), generator=rng) * 2 - 1) / math.sqrt(d)
    elif kind == "orthogonal":
        vectors = torch.linalg.qr(torch.randn(n, d, m, generator=rng)).Q.transpose(1, 2)
    else:
        vectors = F.normalize(torch.randn(n, m, d, generator=rng), dim=2)
    return vectors.reshape(n, m, *shape[1:])
