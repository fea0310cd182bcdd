import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.distill.losses import batch_marginal_entropy, one_hot, per_sample_entropy, soft_cross_entropy

SURE = torch.tensor(
    [[50.0, 0.0, 0.0, 0.0], [0.0, 50.0, 0.0, 0.0], [0.0, 0.0, 50.0, 0.0], [0.0, 0.0, 0.0, 50.0]]
)
UNDECIDED = torch.zeros(4, 4)


def test_cross_entropy_with_soft_targets_by_hand() -> None:
    logits = torch.tensor([[0.2, 0.8], [0.5, 0.5]]).log()
    targets = torch.tensor([[0.3, 0.7], [1.0, 0.0]])
    by_hand = (-(0.3 * math.log(0.2) + 0.7 * math.log(0.8)) - math.log(0.5)) / 2
    assert soft_cross_entropy(logits, targets).item() == pytest.approx(by_hand)


def test_with_one_hot_targets_it_is_ordinary_cross_entropy() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 5, generator=rng), torch.tensor([0, 4, 2, 2, 1, 3])
    assert torch.allclose(soft_cross_entropy(logits, one_hot(labels, 5)), F.cross_entropy(logits, labels))
    smooth = F.cross_entropy(logits, labels, label_smoothing=0.3)
    assert torch.allclose(soft_cross_entropy(logits, one_hot(labels, 5, smoothing=0.3)), smooth)


def test_wrong_rows_count_more_by_hand() -> None:
    logits = torch.tensor([[0.2, 0.8], [0.7, 0.3], [0.6, 0.4]]).log()
    targets = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.9, 0.1]])
    right = -math.log(0.8) - 0.9 * math.log(0.6) - 0.1 * math.log(0.4)
    wrong = -math.log(0.3)
    for weight in (1.0, 1.5, 3.0):
        loss = soft_cross_entropy(logits, targets, wrong_weight=weight)
        assert loss.item() == pytest.approx((right + weight * wrong) / 3)


def test_smoothed_targets_by_hand() -> None:
    targets = one_hot(torch.tensor([1]), 4, smoothing=0.2)
    assert targets[0].tolist() == pytest.approx([0.05, 0.85, 0.05, 0.05])


def test_per_sample_entropy_by_hand_and_its_limits() -> None:
    logits = torch.tensor([[0.2, 0.8]]).log()
    by_hand = (0.2 * math.log(0.2) + 0.8 * math.log(0.8)) / 2
    assert per_sample_entropy(logits).item() == pytest.approx(by_hand)
    assert per_sample_entropy(UNDECIDED).item() == pytest.approx(-math.log(4) / 4)
    assert per_sample_entropy(SURE).item() == pytest.approx(0, abs=1e-9)


def test_batch_marginal_entropy_by_hand_and_its_limits() -> None:
    logits = torch.tensor([[0.2, 0.8], [0.6, 0.4]]).log()
    by_hand = 0.4 * math.log(0.4) + 0.6 * math.log(0.6)
    assert batch_marginal_entropy(logits).item() == pytest.approx(by_hand)
    assert batch_marginal_entropy(UNDECIDED).item() == pytest.approx(-math.log(4))
    assert batch_marginal_entropy(SURE).item() == pytest.approx(-math.log(4)), (
        "each is sure, all are balanced"
    )
    assert batch_marginal_entropy(SURE[:1].repeat(4, 1)).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("term", [per_sample_entropy, batch_marginal_entropy])
def test_going_downhill_raises_the_entropy(term: Callable[[Tensor], Tensor]) -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]], requires_grad=True)
    term(logits).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > 0, "the likely class gets less likely"
    assert logits.grad[0, 2] < 0, "the unlikely class gets more likely"


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_certainty_beyond_floats_gives_no_nan(scale: float) -> None:
    logits = (scale * SURE).requires_grad_()
    targets = one_hot(torch.tensor([1, 2, 3, 0]), 4)
    loss = soft_cross_entropy(logits, targets) + per_sample_entropy(logits) + batch_marginal_entropy(logits)
    loss.backward()
    assert logits.grad is not None
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
