from typing import Any

import pytest
import torch
from tiny_trial import TASK, linear

from raysys.data.augment import augment, flip_and_crop
from raysys.distill.generation import VIEW_STRENGTH, generate
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.losses import one_hot, soft_cross_entropy
from raysys.models.classifiers import build_classifier
from raysys.models.generators import Generator, reset
from raysys.models.weights import state_sha256

SMALL: dict[str, Any] = {"batch_size": 20, "g_width": 8, "latent_dim": 8, "g_steps": 3, "entropy_weight": 0.0}


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


@pytest.mark.parametrize("training", [True, False])
def test_the_student_stays_as_it_was(training: bool) -> None:
    student = build_classifier("cnn3", TASK, seed=0).train(training)
    before = state_sha256(student)
    made(student)
    assert state_sha256(student) == before
    assert student.training is training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in student.parameters())
