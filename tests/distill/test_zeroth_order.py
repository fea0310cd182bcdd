import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.distill.dfme import to_images
from raysys.distill.grey_levels import GREY, on_grid
from raysys.distill.zeroth_order import (
    Stencil,
    image_moves,
    logit_distance,
    published_moves,
    recovered_logits,
)

SHAPE = (1, 8, 8)
D = 64
LEVEL = GREY * math.sqrt(D)
"""The length of a move of every pixel by one grey level."""


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(seed: int = 1) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    weights = torch.randn(SHAPE, generator=rng(seed), dtype=torch.float64)
    return weights, lambda images: (images * weights).flatten(1).sum(dim=1)


def images(n: int, seed: int = 2) -> Tensor:
    return torch.rand(n, *SHAPE, generator=rng(seed), dtype=torch.float64)


def before_the_tanh(n: int) -> Tensor:
    return torch.randn(n, *SHAPE, generator=rng(4), dtype=torch.float64)


def itself(values: Tensor) -> Tensor:
    return values


def square_error(estimate: Tensor, truth: Tensor) -> float:
    """Mean squared error over the squared length of the truth."""
    return float((estimate - truth).flatten(1).square().sum(dim=1).mean() / truth.square().sum())


def mean_cosine(estimate: Tensor, truth: Tensor) -> float:
    return F.cosine_similarity(estimate.flatten(1), truth.flatten(1)).mean().item()


@pytest.mark.parametrize("published", [False, True])
def test_on_a_linear_loss_bias_and_variance_are_those_of_the_closed_form(published: bool) -> None:
    truth, loss = linear()
    m, places = 16, 0.3 + 0.4 * images(3000)
    if published:  # so long that rounding is no matter
        points = published_moves(places, m, 16 * LEVEL, rng(), itself)
    else:
        points = image_moves(places, m, 4, rng())
    estimate = points.gradient(loss(points.images))
    expected = (D - 1) / m
    assert square_error(estimate, truth) == pytest.approx(expected, rel=0.05)
    # The mean of n estimates has the nth part of their squared error, if there is no bias.
    assert square_error(estimate.mean(dim=0, keepdim=True), truth) < 2 * expected / 3000


@pytest.mark.parametrize("m", [1, 4, 16, 64])
def test_the_mean_cosine_to_the_truth_grows_with_the_directions(m: int) -> None:
    truth, loss = linear()
    points = image_moves(images(1000), m, 2, rng())
    # One direction: the mean length of a unit vector's component; more: the ratio of the mean lengths.
    expected = math.sqrt(2 / (math.pi * D)) if m == 1 else math.sqrt(m / (m + D - 1))
    assert mean_cosine(points.gradient(loss(points.images)), truth[None]) == pytest.approx(expected, rel=0.08)


def test_on_a_quadratic_loss_each_slope_is_off_by_half_the_curvature() -> None:
    a = torch.randn(D, D, generator=rng(3), dtype=torch.float64)
    points = image_moves(images(5), 1, 3, rng())
    estimate = points.gradient(torch.einsum("ni,ij,nj->n", flat := points.images.flatten(1), a, flat))
    move = points.moves[:, 0].flatten(1)
    direction = F.normalize(move, dim=1)
    slope = (flat.view(5, 2, D)[:, 0] @ (a + a.T) * direction).sum(dim=1)
    error = torch.einsum("ni,ij,nj->n", direction, a, move)
    assert torch.allclose((estimate.flatten(1) * direction).sum(dim=1) / D, slope + error)


def teacher(curvature: float, seed: int = 6) -> Callable[[Tensor], Tensor]:
    """Probabilities (n, 5) of a teacher whose logits are linear in an image, or quadratic."""
    draws = rng(seed)
    slopes = torch.randn(5, D, generator=draws, dtype=torch.float64) / 8
    bends = curvature * torch.randn(5, D, D, generator=draws, dtype=torch.float64) / D

    def probabilities(images: Tensor) -> Tensor:
        flat = images.flatten(1)
        bent = torch.einsum("ni,kij,nj->nk", flat, bends, flat)
        return (flat @ slopes.T + bent).softmax(dim=1)

    return probabilities


@pytest.mark.parametrize("activation", [None, to_images], ids=["images", "before the tanh"])
@pytest.mark.parametrize("curvature", [0.0, 1.0], ids=["linear", "quadratic"])
def test_the_mean_of_many_moves_through_a_teacher_is_the_gradient_of_autograd(
    curvature: float, activation: Callable[[Tensor], Tensor] | None
) -> None:
    """DFME's distance of a linear student to a teacher that tells probabilities, and nothing else."""
    told = teacher(curvature)
    weights = torch.randn(5, D, generator=rng(8), dtype=torch.float64) / 8

    def distance(points: Tensor) -> Tensor:
        return logit_distance(points.flatten(1) @ weights.T, told(points))

    places = (on_grid(images(6)) if activation is None else before_the_tanh(6)).requires_grad_()
    m = 8_000
    if activation is None:
        points, shown = image_moves(places, m, 1, rng()), places
    else:
        points, shown = published_moves(places, m, 8 * LEVEL, rng(), activation), activation(places)
    (truth,) = torch.autograd.grad(distance(shown).sum(), places)
    estimate = points.gradient(distance(points.images))
    cosine = F.cosine_similarity(estimate.flatten(1), truth.flatten(1))
    length = estimate.flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)
    assert cosine.min() > 0.99
    assert (length - 1).abs().max() < 0.05


def stencils(m: int, places: int = 6) -> list[Stencil]:
    return [
        image_moves(images(places), m, 3, rng()),
        published_moves(before_the_tanh(places), m, 0.1, rng(), to_images),
    ]


@pytest.mark.parametrize("m", [1, 7])
def test_it_asks_each_image_and_its_moves_in_8_bits(m: int) -> None:
    for points in stencils(m):
        assert points.images.shape == (6 * (m + 1), *SHAPE)
        assert torch.equal(points.images, on_grid(points.images))


def test_the_first_answers_serve_the_first_images() -> None:
    _, loss = linear()
    for points in stencils(3):
        losses = loss(points.images)
        changed = torch.cat([losses[: 2 * 4], torch.zeros(4 * 4)])
        assert torch.equal(points.gradient(losses)[:2], points.gradient(changed)[:2])


def test_moves_of_whole_grey_levels_are_sent_exactly_even_from_black_and_white() -> None:
    points = image_moves(torch.cat([torch.zeros(2, *SHAPE), torch.ones(2, *SHAPE)]), 5, 3, rng())
    assert torch.allclose(points.moves.abs(), torch.tensor(3 * GREY))


def test_before_the_tanh_8_bits_need_a_longer_step_than_the_published_one() -> None:
    weights, loss = linear()
    values = before_the_tanh(500)
    truth = (1 - values.tanh() ** 2) / 2 * weights

    def cosine(epsilon: float) -> float:
        points = published_moves(values, 16, epsilon, rng(), to_images)
        return mean_cosine(points.gradient(loss(points.images)), truth)

    ideal = math.sqrt(16 / (16 + D - 1))
    assert cosine(1e-3) < 0.25 * ideal
    assert 0.4 * ideal < cosine(LEVEL) < 0.95 * ideal
    assert cosine(16 * LEVEL) > 0.93 * ideal


def test_a_step_that_floats_cannot_hold_moves_nothing() -> None:
    _, loss = linear()
    points = published_moves(before_the_tanh(3).float(), 2, 1e-30, rng(), to_images)
    assert points.gradient(loss(points.images).float()).abs().max() == 0


def test_equal_generators_draw_equal_points() -> None:
    first, second = (image_moves(images(3), 2, 1, rng(9)) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, image_moves(images(3), 2, 1, rng(8)).images)


def test_logits_come_back_up_to_their_mean() -> None:
    logits = 5 * torch.randn(6, 10, generator=rng(5), dtype=torch.float64)
    centred = logits - logits.mean(dim=1, keepdim=True)
    assert torch.allclose(recovered_logits(logits.softmax(dim=1)), centred)
    assert torch.allclose(recovered_logits((logits + 7).softmax(dim=1)), centred)


def test_probabilities_of_zero_count_as_the_floor() -> None:
    logits = recovered_logits(torch.tensor([[1.0, 0.0]]), floor=math.exp(-4))
    assert logits[0].tolist() == pytest.approx([2, -2])


def test_the_distance_of_logits_by_hand() -> None:
    probabilities = torch.tensor([[1.0, math.exp(-2)]]) / (1 + math.exp(-2))
    assert logit_distance(torch.tensor([[4.0, -2.0]]), probabilities).item() == pytest.approx((3 + 1) / 2)
