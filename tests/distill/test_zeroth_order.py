import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.distill.dfme import to_images
from raysys.distill.grey_levels import GREY, on_grid
from raysys.distill.zeroth_order import (
    PUBLISHED_EPSILON,
    Kind,
    logit_distance,
    recovered_logits,
    stencil,
    step_length,
)

SHAPE = (1, 8, 8)
D = 64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(seed: int = 1) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    weights = torch.randn(SHAPE, generator=rng(seed), dtype=torch.float64)
    return weights, lambda images: (images * weights).flatten(1).sum(dim=1)


def images(n: int, seed: int = 2) -> Tensor:
    return torch.rand(n, *SHAPE, generator=rng(seed), dtype=torch.float64)


def square_error(estimate: Tensor, truth: Tensor) -> float:
    """Mean squared error over the squared length of the truth."""
    return float((estimate - truth).flatten(1).square().sum(dim=1).mean() / truth.square().sum())


@pytest.mark.parametrize("central", [False, True])
@pytest.mark.parametrize("kind", ["sphere", "orthogonal", "signs"])
def test_on_a_linear_loss_bias_and_variance_are_those_of_the_closed_form(kind: Kind, central: bool) -> None:
    truth, loss = linear()
    m = 16
    points = stencil(images(3000), m, step_length(4, SHAPE), rng(), kind=kind, central=central)
    estimate = points.gradient(loss(points.images))
    expected = (D - m) / m if kind == "orthogonal" else (D - 1) / m
    # Rounding makes moves on the sphere not quite isotropic.
    assert square_error(estimate, truth) == pytest.approx(expected, rel=0.05)
    # The mean of n estimates has the nth part of their squared error, if there is no bias.
    assert square_error(estimate.mean(dim=0, keepdim=True), truth) < 2 * expected / 3000


@pytest.mark.parametrize("m", [1, 4, 16, 64])
def test_the_mean_cosine_to_the_truth_grows_with_the_directions(m: int) -> None:
    truth, loss = linear()
    points = stencil(images(1000), m, step_length(2, SHAPE), rng(), kind="signs")
    estimate = points.gradient(loss(points.images))
    cosine = F.cosine_similarity(estimate.flatten(1), truth.flatten()[None]).mean()
    # One direction: the mean length of a unit vector's component; more: the ratio of the mean lengths.
    expected = math.sqrt(2 / (math.pi * D)) if m == 1 else math.sqrt(m / (m + D - 1))
    assert cosine.item() == pytest.approx(expected, rel=0.08)


def test_as_many_orthogonal_directions_as_dimensions_give_the_whole_gradient() -> None:
    truth, loss = linear()
    points = stencil(images(2), D, PUBLISHED_EPSILON, rng(), kind="orthogonal", round_to_8_bits=False)
    assert torch.allclose(points.gradient(loss(points.images)), truth.expand(2, *SHAPE), atol=1e-4)


@pytest.mark.parametrize("central", [False, True])
def test_on_a_quadratic_loss_each_slope_is_exact_or_off_by_half_the_curvature(central: bool) -> None:
    a = torch.randn(D, D, generator=rng(3), dtype=torch.float64)
    x = images(5)
    points = stencil(x, 1, 0.05, rng(), central=central, round_to_8_bits=False)
    estimate = points.gradient(torch.einsum("ni,ij,nj->n", flat := points.images.flatten(1), a, flat))
    move = points.moves[:, 0].flatten(1)
    direction = F.normalize(move, dim=1)
    start = (flat.view(5, 2, D)[:, 0] - move / 2) if central else flat.view(5, 2, D)[:, 0]
    slope = (start @ (a + a.T) * direction).sum(dim=1)
    error = 0 if central else torch.einsum("ni,ij,nj->n", direction, a, move)
    assert torch.allclose((estimate.flatten(1) * direction).sum(dim=1) / D, slope + error)


def test_pre_activations_get_the_gradient_through_the_activation() -> None:
    weights, loss = linear()
    x = torch.randn(4, *SHAPE, generator=rng(4), dtype=torch.float64)
    truth = torch.sigmoid(x) * (1 - torch.sigmoid(x)) * weights
    points = stencil(
        x, D, 1e-5, rng(), kind="orthogonal", central=True, round_to_8_bits=False, activation=torch.sigmoid
    )
    assert torch.allclose(points.gradient(loss(points.images)), truth, rtol=1e-5, atol=1e-7)


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
def test_the_gradient_through_a_teacher_is_that_of_autograd(
    curvature: float, activation: Callable[[Tensor], Tensor] | None
) -> None:
    """DFME's distance of a linear student to a teacher that tells probabilities, and nothing else."""
    told = teacher(curvature)
    weights = torch.randn(5, D, generator=rng(8), dtype=torch.float64) / 8

    def distance(points: Tensor) -> Tensor:
        return logit_distance(points.flatten(1) @ weights.T, told(points))

    places = images(6).requires_grad_()
    shown = activation(places) if activation else places
    (truth,) = torch.autograd.grad(distance(shown).sum(), places)
    forward = stencil(places, D, 1e-6, rng(), kind="orthogonal", round_to_8_bits=False, activation=activation)
    assert torch.allclose(forward.gradient(distance(forward.images)), truth, atol=1e-5)
    many = stencil(places, 6000, 1e-6, rng(), round_to_8_bits=False, activation=activation)
    cosine = F.cosine_similarity(many.gradient(distance(many.images)).flatten(1), truth.flatten(1))
    assert cosine.min() > 0.99, "published: directions on the sphere; the mean of many has no other limit"


@pytest.mark.parametrize("m", [1, 7])
def test_it_asks_each_image_and_its_moves_or_moves_both_ways(m: int) -> None:
    assert len(stencil(images(6), m, 0.1, rng()).images) == 6 * (m + 1)
    assert len(stencil(images(6), m, 0.1, rng(), central=True).images) == 6 * 2 * m


def test_the_first_answers_serve_the_first_images() -> None:
    _, loss = linear()
    points = stencil(images(6), 3, 0.1, rng())
    losses = loss(points.images)
    changed = torch.cat([losses[: 2 * 4], torch.zeros(4 * 4)])
    assert torch.equal(points.gradient(losses)[:2], points.gradient(changed)[:2])


@pytest.mark.parametrize("kind", ["sphere", "orthogonal", "signs"])
def test_what_is_asked_fits_into_8_bits(kind: Kind) -> None:
    points = stencil(images(20), 5, step_length(3, SHAPE), rng(), kind=kind)
    assert torch.equal(points.images, on_grid(points.images))
    assert points.images.min() >= 0
    assert points.images.max() <= 1


def test_moves_of_whole_grey_levels_are_sent_exactly_even_from_black_and_white() -> None:
    x = torch.cat([torch.zeros(2, *SHAPE), torch.ones(2, *SHAPE)])
    points = stencil(x, 5, step_length(3, SHAPE), rng(), kind="signs")
    assert torch.allclose(points.moves.abs(), torch.tensor(3 * GREY))


def test_the_published_step_vanishes_in_8_bits_and_a_grey_level_does_not() -> None:
    _, loss = linear()
    small = stencil(images(20), 5, PUBLISHED_EPSILON, rng())
    assert small.vanished == 1
    assert small.gradient(loss(small.images)).abs().max() == 0, "no division by a move of length 0"
    assert stencil(images(20), 5, step_length(1, SHAPE), rng(), kind="signs").vanished == 0
    assert stencil(images(20), 5, PUBLISHED_EPSILON, rng(), round_to_8_bits=False).vanished == 0


def test_in_pre_activations_8_bits_need_a_longer_step() -> None:
    weights, loss = linear()
    x = torch.randn(500, *SHAPE, generator=rng(4), dtype=torch.float64)
    truth = torch.sigmoid(x) * (1 - torch.sigmoid(x)) * weights

    def cosine(epsilon: float) -> float:
        points = stencil(x, 16, epsilon, rng(), activation=torch.sigmoid)
        estimate = points.gradient(loss(points.images))
        return F.cosine_similarity(estimate.flatten(1), truth.flatten(1)).mean().item()

    ideal = math.sqrt(16 / (16 + D - 1))
    assert cosine(PUBLISHED_EPSILON) < 0.25 * ideal
    assert 0.4 * ideal < cosine(step_length(1, SHAPE)) < 0.8 * ideal
    assert cosine(step_length(16, SHAPE)) > 0.93 * ideal


def test_equal_generators_draw_equal_points() -> None:
    first, second = (stencil(images(3), 2, 0.1, rng(9)) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, stencil(images(3), 2, 0.1, rng(8)).images)


def test_what_no_estimate_can_be_made_of_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0 directions of length 0\.1: both must be positive"):
        stencil(images(1), 0, 0.1, rng())
    with pytest.raises(ValueError, match="both must be positive"):
        stencil(images(1), 1, 0.0, rng())
    with pytest.raises(ValueError, match="65 directions cannot be orthogonal in 64 dimensions"):
        stencil(images(1), D + 1, 0.1, rng(), kind="orthogonal")


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
