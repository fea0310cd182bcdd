import math

import pytest
import torch
from torch import Tensor

from raysys.distill.boundary import ANY_OTHER, Boundaries, drive, toward
from raysys.distill.grey_levels import GREY, on_grid
from raysys.distill.pseudo_samples import move_away, pseudo_noise

SHAPE = (1, 8, 8)


class Brightness:
    """Class 0, 1 or 2 for a mean grey up to 0.4, up to 0.6, or above; answers `budget` images."""

    def __init__(self, budget: float = math.inf) -> None:
        self.budget = budget
        self.count = 0

    def decide(self, images: Tensor) -> Tensor:
        assert torch.equal(images, on_grid(images))
        allowed = int(min(len(images), self.budget - self.count))
        self.count += allowed
        return torch.bucketize(images[:allowed].mean(dim=(1, 2, 3)), torch.tensor([0.4, 0.6]))


def grey(*levels: float) -> Tensor:
    return on_grid(torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, *SHAPE))


def start(teacher: Brightness, levels: tuple[float, ...], witness: float) -> Boundaries:
    images = grey(*levels)
    own = teacher.decide(images)
    rows = Boundaries.start(images, own, torch.full_like(own, ANY_OTHER))
    ends = grey(witness).expand_as(images)
    drive(toward(rows, ends, torch.ones(len(own), dtype=torch.bool), 10), teacher.decide)
    teacher.count = 0
    return rows


def test_samples_move_straight_away_from_the_boundary_and_keep_their_labels() -> None:
    teacher = Brightness()
    rows = start(teacher, (0.2, 0.3, 0.35), witness=0.5)
    before, distance = rows.samples.clone(), rows.distance.clone()
    assert drive(move_away(rows, step=0.8, halvings=2), teacher.decide)
    # 0.8 over 64 pixels is 0.1 a pixel.
    assert torch.allclose(rows.samples, before - 0.1, atol=GREY)
    assert torch.allclose(rows.distance, distance + 0.8, atol=8 * GREY)
    assert teacher.count == 3
    assert torch.equal(teacher.decide(rows.samples), rows.own)


def test_a_step_into_another_class_is_halved_and_each_try_is_charged() -> None:
    teacher = Brightness()
    rows = start(teacher, (0.42, 0.47, 0.59), witness=0.7)
    assert drive(move_away(rows, step=0.8, halvings=2), teacher.decide)
    # Down by 0.1, 0.05 and 0.025 to stay above 0.4: none does, the second, the first.
    assert rows.samples.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.42, 0.42, 0.49], abs=GREY)
    assert teacher.count == 3 + 2 + 1
    assert torch.equal(teacher.decide(rows.samples), rows.own)


def test_a_try_that_ends_in_a_nearer_class_gives_a_nearer_witness() -> None:
    teacher = Brightness()
    rows = start(teacher, (0.42,), witness=0.7)
    drive(move_away(rows, step=0.8, halvings=2), teacher.decide)
    assert rows.distance.item() == pytest.approx(8 * 0.025, abs=8 * GREY)


@pytest.mark.parametrize("budget", range(7))
def test_wherever_the_budget_ends_samples_have_their_labels(budget: int) -> None:
    teacher = Brightness()
    rows = start(teacher, (0.42, 0.47, 0.59), witness=0.7)
    teacher.budget = budget
    assert drive(move_away(rows, step=0.8, halvings=2), teacher.decide) == (budget == 6)
    assert teacher.count == budget
    assert torch.equal(Brightness().decide(rows.samples), rows.own)
    assert torch.allclose(rows.distance, (rows.witness - rows.samples).flatten(1).norm(dim=1))


def test_without_a_witness_nothing_moves_and_nothing_is_asked() -> None:
    own = torch.zeros(2, dtype=torch.int64)
    rows = Boundaries.start(grey(0.1, 0.2), own, torch.full_like(own, ANY_OTHER))
    assert drive(move_away(rows, step=0.8, halvings=2), pytest.fail)


def test_noise_is_of_all_brightnesses_and_repeats_with_its_generator() -> None:
    first, second = (pseudo_noise(500, SHAPE, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (500, *SHAPE)
    assert first.min() == 0
    assert first.max() == 1
    means = first.mean(dim=(1, 2, 3))
    assert means.min() < 0.15
    assert means.max() > 0.6
