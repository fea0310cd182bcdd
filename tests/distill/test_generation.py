import math
from typing import Any

import pytest
import torch
from tiny_trial import TASK, linear
from torch.utils._python_dispatch import TorchDispatchMode

from raysys.data.augment import augment, flip_and_crop
from raysys.distill.generation import VIEW_STRENGTH, generate, keep_better, raise_entropy
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.losses import one_hot, soft_cross_entropy
from raysys.distill.precision import computes_in_bfloat16
from raysys.models.classifiers import build_classifier
from raysys.models.generators import Generator, reset
from raysys.models.weights import state_sha256

SMALL: dict[str, Any] = {"batch_size": 20, "g_width": 8, "latent_dim": 8, "g_steps": 3, "entropy_weight": 0.0}
SMALL |= {"precision": "float32"}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(student: torch.nn.Module, seed: int = 0, **options: Any) -> tuple[torch.Tensor, float]:
    chosen = IdealOptions(**{**SMALL, **options})
    generator = Generator(TASK.image_shape, chosen.latent_dim, chosen.g_width)
    reset(generator, rng(1))
    return generate(generator, student, chosen, TASK, rng(seed))


def test_a_batch_of_images_comes_back() -> None:
    images, loss = made(linear())
    assert images.shape == (20, 1, 8, 8)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert not images.requires_grad
    assert loss > 0


@pytest.mark.parametrize("changes", [{}, {"latent_lr": 0.1}, {"reset_generator": False}])
def test_the_generator_decides_all(changes: dict[str, Any]) -> None:
    first, loss = made(linear(), **changes)
    again, same = made(linear(), **changes)
    assert torch.equal(first, again)
    assert loss == same
    assert not torch.equal(first, made(linear(), seed=1, **changes)[0])


@pytest.mark.parametrize("fresh", [True, False])
def test_a_generator_is_made_anew_each_time_unless_it_shall_learn_on(fresh: bool) -> None:
    batches = []
    for weights in (1, 2):
        generator = Generator(TASK.image_shape, 8, 8)
        reset(generator, rng(weights))
        options = IdealOptions(**SMALL, reset_generator=fresh)
        batches.append(generate(generator, linear(), options, TASK, rng())[0])
    assert torch.equal(*batches) == fresh, "what it was before counts only if it is kept"


def test_images_and_loss_are_those_of_the_formula_and_only_the_student_sees_a_view() -> None:
    options = {"g_steps": 1, "reset_generator": False, "target_smoothing": 0.1}
    images, loss = made(linear(), **options)
    generator, draws = Generator(TASK.image_shape, 8, 8), rng()
    reset(generator, rng(1))
    output = generator(torch.randn(20, 8, generator=draws))
    assert torch.equal(images, output)
    targets = one_hot(torch.arange(10).repeat(2), 10, smoothing=0.1)
    logits = linear()(augment(output, VIEW_STRENGTH, False, draws))
    assert loss == pytest.approx(soft_cross_entropy(logits, targets).item())


def test_with_official_labels_the_view_is_the_released_crop() -> None:
    images, loss = made(linear(), g_steps=1, reset_generator=False, labels="official")
    draws = rng()
    torch.randn(20, 8, generator=draws)
    targets = one_hot(torch.arange(10).repeat(2), 10)
    logits = linear()(flip_and_crop(images, 4, draws))
    assert loss == pytest.approx(soft_cross_entropy(logits, targets).item())


def test_in_half_precision_the_images_are_nearly_the_same_and_float32() -> None:
    options = {"g_steps": 1, "reset_generator": False}
    (exact, loss), (images, near) = (made(linear(), precision=one, **options) for one in ("float32", "auto"))
    assert images.dtype == torch.float32
    assert (images - exact).abs().max() < 0.01, "of 1: two grey levels and a half"
    assert near == pytest.approx(loss, rel=0.01)
    half = computes_in_bfloat16(torch.device("cpu"))
    assert torch.equal(images, exact) is not half, "only a machine that has bfloat16 uses it"


class Reads(TorchDispatchMode):
    """Counts how often the host looks at a number of the device, which makes it wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("labels", ["once", "official"])
def test_the_host_does_not_wait_for_the_device_in_every_step(labels: str) -> None:
    counts = []
    for steps in (1, 5):
        with Reads() as reads:
            made(linear(), g_steps=steps, labels=labels)
        counts.append(reads.count)
    assert counts[0] == counts[1]


def test_the_step_with_the_lowest_loss_is_kept() -> None:
    losses = [made(linear(), g_lr=0.5, g_steps=steps)[1] for steps in range(1, 12)]
    assert losses == sorted(losses, reverse=True)


def test_more_steps_bring_each_image_nearer_to_its_class() -> None:
    images, loss = made(linear(), g_steps=80, g_lr=0.02)
    assert loss < 0.6 * made(linear(), g_steps=1)[1]
    classes = linear()(images).argmax(dim=1)
    assert (classes == torch.arange(10).repeat(2)).float().mean() > 0.5


@pytest.mark.parametrize("entropy", ["per_sample", "batch_marginal"])
def test_the_entropy_term_is_weighed(entropy: str) -> None:
    plain = made(linear(), g_steps=1)[1]
    one, two = (made(linear(), g_steps=1, entropy=entropy, entropy_weight=weight)[1] for weight in (1, 2))
    assert one < plain
    assert two - one == pytest.approx(one - plain, rel=1e-4)


def test_a_latent_rate_moves_z() -> None:
    still, loss = made(linear(), g_lr=1e-12, g_steps=30)
    moved, lower = made(linear(), g_lr=1e-12, g_steps=30, latent_lr=0.5)
    assert not torch.allclose(still, moved)
    assert lower < loss


def test_at_the_published_rate_z_takes_adams_step() -> None:
    """Adam's first step moves each number by its rate, against the gradient: after it, z is 0.01 away."""
    generator, student = Generator(TASK.image_shape, 8, 8), linear()
    reset(generator, rng(1))
    z = torch.randn(20, 8, generator=(draws := rng())).requires_grad_()
    targets = one_hot(torch.arange(10).repeat(2), 10)
    view = augment(generator(z), VIEW_STRENGTH, False, draws)
    (gradient,) = torch.autograd.grad(soft_cross_entropy(student(view), targets), z)
    moved = generator(z.detach() - 0.01 * gradient.sign())
    images, _ = made(linear(), reset_generator=False, g_lr=1e-12, latent_lr=0.01, g_steps=2)
    first, _ = made(linear(), reset_generator=False, g_lr=1e-12, latent_lr=0.01, g_steps=1)
    assert not torch.allclose(images, first, atol=1e-5), "the second step's images had the lower loss"
    assert torch.allclose(images, moved, atol=1e-5)


def entropies(student: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.distributions.Categorical(logits=student(images)).entropy()


def test_one_step_uphill_is_that_of_the_formula() -> None:
    """For a linear student dH/dx = sum_k -p_k (log p_k + H) w_k, by hand."""
    student, images = linear(), torch.rand(6, 1, 8, 8, generator=rng())
    logits = student(images)
    log_p = logits.log_softmax(dim=1)
    h = entropies(student, images)[:, None]
    uphill = (-log_p.exp() * (log_p + h)) @ student[1].weight  # type: ignore[index]
    expected = (images + 0.03 * uphill.view_as(images).sign()).clamp(0, 1)
    assert torch.allclose(raise_entropy(student, images, 1), expected)
    assert torch.equal(raise_entropy(student, images, 0), images)


@pytest.mark.parametrize("training", [True, False])
def test_ten_steps_raise_the_entropy_within_the_range_and_leave_the_student(training: bool) -> None:
    student = build_classifier("cnn3", TASK, seed=0).train(training)
    before = state_sha256(student)
    images = torch.rand(40, 1, 8, 8, generator=rng())
    moved = raise_entropy(student, images, 10)
    assert (moved.min(), moved.max()) >= (0, 0)
    assert moved.max() <= 1
    assert 0.03 < (moved - images).abs().max() <= 0.3 + 1e-6
    assert not moved.requires_grad
    assert state_sha256(student) == before
    assert student.training is training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in student.parameters())
    student.eval()
    assert entropies(student, moved).mean() > entropies(student, images).mean()


@pytest.mark.parametrize("training", [True, False])
def test_the_student_stays_as_it_was(training: bool) -> None:
    student = build_classifier("cnn3", TASK, seed=0).train(training)
    before = state_sha256(student)
    made(student)
    assert state_sha256(student) == before
    assert student.training is training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in student.parameters())


def test_anything_is_better_than_nan() -> None:
    best, best_loss = torch.zeros(3, 1, 1, 1, 1), torch.tensor([math.nan, math.nan, 2.0])
    keep_better(torch.ones(3, 1, 1, 1, 1), torch.tensor([3.0, math.nan, math.nan]), best, best_loss)
    assert best.flatten()[[0, 2]].tolist() == [1, 0]
    assert best_loss[[0, 2]].tolist() == [3, 2]
