import math

import numpy as np
import pytest
import torch
from tiny_trial import pictures

from raysys.distill.image_pool import ImagePool
from raysys.oracle import Response


def pool(labels: list[int], soft: bool = False) -> ImagePool:
    filled = ImagePool((1, 8, 8), 3)
    answers = np.array(labels, np.int64)
    probabilities = np.eye(3, dtype=np.float32)[answers] * 0.7 + 0.1 if soft else None
    for part in (slice(0, 2), slice(2, None)):
        own = None if probabilities is None else probabilities[part]
        filled.add(pictures(len(labels))[part], Response(answers[part], own))
    return filled


def test_batches_are_pixels_from_0_to_1_with_the_recorded_answers() -> None:
    images, targets = pool([2, 0, 1]).batch(torch.tensor([2, 0]))
    expected = pictures(3)[[2, 0]].astype(np.float32) / 255
    np.testing.assert_array_equal(images.numpy(), expected)
    assert targets.tolist() == [[0, 1, 0], [0, 0, 1]]


def test_a_soft_teachers_probabilities_are_the_targets() -> None:
    _, targets = pool([2, 0, 1], soft=True).batch(torch.tensor([2, 0]))
    assert targets.numpy() == pytest.approx(np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]))


def test_a_pass_without_balance_is_a_permutation() -> None:
    order = pool([0] * 9 + [1]).order(False, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(10))


def test_balanced_draws_weigh_an_image_with_one_over_the_root_of_its_class() -> None:
    many = pool([0] * 9000 + [1] * 1000)
    order = many.order(True, torch.Generator().manual_seed(0))
    assert len(order) == 10_000
    share = (order >= 9000).float().mean().item()
    expected = math.sqrt(1000) / (math.sqrt(9000) + math.sqrt(1000))  # 0.25, for 0.1 of the images
    assert share == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("balance", [True, False])
def test_an_empty_pool_has_an_empty_order(balance: bool) -> None:
    assert ImagePool((1, 8, 8), 3).order(balance, torch.Generator()).tolist() == []


@pytest.mark.parametrize("soft", [True, False])
def test_a_saved_pool_comes_back(soft: bool) -> None:
    before, after = pool([2, 0, 1], soft), ImagePool((1, 8, 8), 3)
    after.load_state_dict(before.state_dict())
    assert len(after) == 3
    for ours, theirs in zip(before.batch(torch.arange(3)), after.batch(torch.arange(3)), strict=True):
        assert torch.equal(ours, theirs)
