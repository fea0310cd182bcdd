import math
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trial import TASK, pictures

from raysys.distill import batches as module
from raysys.distill.batches import Batches, draw_pairs, mixed
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.image_pool import ImagePool
from raysys.oracle import Response

CPU = torch.device("cpu")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shown(n: int, seed: int = 0, **options: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A pass over `n` images; each image is of the class of its number."""
    pool = ImagePool(TASK.image_shape, n)
    if n:
        pool.add(pictures(n), Response(np.arange(n)))
    recipe = IdealOptions(**{"augment": 0.0, "balance": False, "train_batch": 16, **options})
    return list(Batches(pool, recipe, TASK, rng(seed), CPU))


def test_a_plain_pass_shows_every_image_once_with_its_answer() -> None:
    seen = shown(40)
    assert [len(images) for images, _ in seen] == [16, 16, 8]
    numbers = torch.cat([targets for _, targets in seen]).argmax(dim=1)
    assert sorted(numbers.tolist()) == list(range(40))
    expected = pictures(40)[numbers.numpy()].astype(np.float32) / 255
    np.testing.assert_array_equal(torch.cat([images for images, _ in seen]).numpy(), expected)


@pytest.mark.parametrize(("n", "sizes"), [(0, []), (1, []), (17, [16]), (18, [16, 2]), (33, [16, 16])])
def test_an_image_left_alone_waits_for_another_pass(n: int, sizes: list[int]) -> None:
    assert [len(images) for images, _ in shown(n)] == sizes


@pytest.mark.parametrize("options", [{"augment": 0.5}, {"mixup": 0.4}, {"augment": 0.5, "mixup": 0.4}])
def test_how_much_is_prepared_at_once_changes_nothing(
    options: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shown(100, **options)
    monkeypatch.setattr(module, "CPU_BLOCK", 1)
    for (images, targets), (ours, theirs) in zip(shown(100, **options), whole, strict=True):
        assert torch.allclose(images, ours, atol=1e-6)
        assert torch.equal(targets, theirs)


@pytest.mark.parametrize("option", ["augment", "mixup"])
def test_chance_comes_from_the_generator_alone(option: str) -> None:
    torch.manual_seed(1)
    first = shown(40, seed=5, **{option: 0.4})
    torch.manual_seed(2)
    again, other = shown(40, seed=5, **{option: 0.4}), shown(40, seed=6, **{option: 0.4})
    assert torch.equal(first[0][0], again[0][0])
    assert torch.equal(first[0][1], again[0][1])
    assert not torch.equal(first[0][0], other[0][0])


def test_mixed_images_are_convex_pairs_of_a_batch_with_the_same_weight_for_the_targets() -> None:
    """The images' own numbers, as pixels, are mixed as their classes are."""
    pool = ImagePool(TASK.image_shape, 40)
    pool.add(np.arange(40, dtype=np.uint8).repeat(64).reshape(40, 1, 8, 8), Response(np.arange(40)))
    recipe = IdealOptions(augment=0.0, balance=False, train_batch=16, mixup=1.0)
    plain = Batches(pool, recipe.model_copy(update={"mixup": 0.0}), TASK, rng(), CPU)
    classes = torch.arange(40.0)
    for (images, targets), (_, own) in zip(Batches(pool, recipe, TASK, rng(), CPU), plain, strict=True):
        assert torch.allclose(images[:, 0, 0, 0] * 255, targets @ classes, atol=1e-3)
        assert torch.allclose(targets.sum(dim=1), torch.ones(len(targets)))
        assert targets.min() >= 0
        assert ((targets > 0).sum(dim=1) <= 2).all()
        assert (targets * own).sum(dim=1).min() > 0, "the first of a pair is the image itself"
        assert (targets.sum(dim=0)[own.sum(dim=0) == 0] == 0).all(), "both are of the batch"


def weights(alpha: float) -> torch.Tensor:
    shares, partners = draw_pairs(400, 128, alpha, rng())
    assert [sorted(part.tolist()) for part in partners.split(128)] == [
        list(range(start, min(400, start + 128))) for start in range(0, 400, 128)
    ]
    return shares


def test_alpha_sets_how_much_is_mixed() -> None:
    few = weights(1e-6)
    assert ((few < 1e-3) | (few > 1 - 1e-3)).all(), "one of the two, whole"
    assert (weights(1e6) - 0.5).abs().max() < 0.01, "half and half"
    assert weights(1.0).mean().item() == pytest.approx(0.5, abs=0.05)
    assert weights(1.0).std().item() == pytest.approx(1 / math.sqrt(12), abs=0.03), "uniform"


def test_a_share_of_1_is_the_image_itself() -> None:
    values = torch.rand(5, 3)
    partners = torch.tensor([1, 2, 3, 4, 0])
    assert torch.equal(mixed(values, torch.ones(5, 1), partners), values)
    assert torch.equal(mixed(values, torch.zeros(5, 1), partners), values[partners])
