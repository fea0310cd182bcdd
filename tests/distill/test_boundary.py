import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from raysys.distill.boundary import (
    ANY_OTHER,
    Boundaries,
    Search,
    descend,
    distance_table,
    drive,
    each_other_class,
    nearest,
    soft_scores,
    toward,
)
from raysys.distill.grey_levels import GREY, on_grid

SHAPE = (1, 8, 8)
FEW = {"neighbours": 20, "turns": 5, "bisections": 8}
ROUNDING = math.sqrt(64 / 12) * GREY
"""How far a rounded image is from the one meant, about."""


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class HalfSpace:
    """Class 1 where normal . image > offset, else 0; the normal has length 1. Counts what it decides."""

    def __init__(self, budget: float = math.inf) -> None:
        self.normal = torch.nn.functional.normalize(torch.randn(64, generator=rng(1)), dim=0)
        self.offset = 0.5 * float(self.normal.sum()) + 0.5
        self.budget = budget
        self.asked: list[Tensor] = []

    def side(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.normal - self.offset

    def decide(self, images: Tensor) -> Tensor:
        assert torch.equal(images, on_grid(images)), "only whole grey levels can be asked"
        allowed = int(min(len(images), self.budget - self.count))
        self.asked.append(images[:allowed])
        return (self.side(images[:allowed]) > 0).long()

    @property
    def count(self) -> int:
        return sum(map(len, self.asked))


def samples(n: int = 20) -> Tensor:
    """Images of class 0, well inside of [0, 1], 0.2 to 0.8 before the boundary."""
    return on_grid(0.4 + 0.2 * torch.rand(n, *SHAPE, generator=rng(2)))


def others(teacher: HalfSpace, n: int) -> Tensor:
    """Images of class 1."""
    images = 0.5 + 0.3 * torch.randn(400, *SHAPE, generator=rng(3))
    images = on_grid(images + 1.5 * teacher.normal.view(SHAPE))
    return images[teacher.side(images) > 0][:n]


def rows_with_ends(teacher: HalfSpace, n: int = 20) -> tuple[Boundaries, Tensor, Tensor]:
    own = torch.zeros(n, dtype=torch.int64)
    return Boundaries.start(samples(n), own, own + 1), others(teacher, n), torch.ones(n, dtype=torch.bool)


def along(teacher: HalfSpace, rows: Boundaries, ends: Tensor) -> Tensor:
    """The closed form: where the lines from the samples to the ends cross the hyperplane."""
    before, after = -teacher.side(rows.samples), teacher.side(ends)
    return before / (before + after) * (ends - rows.samples).flatten(1).norm(dim=1)


@pytest.mark.parametrize("bisections", [2, 5, 10])
def test_on_a_line_the_distance_is_the_hyperplanes(bisections: int) -> None:
    teacher = HalfSpace()
    rows, ends, known = rows_with_ends(teacher)
    assert drive(toward(rows, ends, known, bisections), teacher.decide)
    truth, length = along(teacher, rows, ends), (ends - rows.samples).flatten(1).norm(dim=1)
    # A rounded image is longer by about ROUNDING**2 / 2 distance, and 0.3 levels off towards the plane.
    slack = length / 2**bisections + ROUNDING**2 / truth + 4 * GREY * length
    assert (rows.distance < truth + slack).all()
    assert (rows.distance > truth - 4 * GREY * length).all()
    assert (teacher.side(rows.witness) > 0).all(), "each witness is a real answer"
    assert torch.allclose(rows.distance, (rows.witness - rows.samples).flatten(1).norm(dim=1))
    assert teacher.count == 20 * bisections


def test_further_candidates_only_help_and_cost_what_the_formula_says() -> None:
    teacher = HalfSpace()
    rows, ends, known = rows_with_ends(teacher)
    drive(toward(rows, ends, known, 8), teacher.decide)
    closest = along(teacher, rows, ends)
    for shift in (3, 7):
        before, count = rows.distance.clone(), teacher.count
        candidates = ends.roll(shift, dims=0)
        farther = (candidates - rows.samples).flatten(1).norm(dim=1) >= before
        radius = torch.where(farther, before, 0)[:, None, None, None]
        line = torch.nn.functional.normalize((candidates - rows.samples).flatten(1), dim=1).view_as(ends)
        beyond = teacher.side(on_grid(rows.samples + radius * line)) > 0
        drive(toward(rows, candidates, known, 8), teacher.decide)
        assert teacher.count - count == int(farther.sum() + 8 * (beyond | ~farther).sum())
        assert (rows.distance <= before).all()
        closest = torch.minimum(closest, along(teacher, rows, candidates))
    assert (rows.distance - closest).abs().max() < 0.05


def test_rows_without_a_known_end_are_left_out() -> None:
    teacher = HalfSpace()
    rows, ends, known = rows_with_ends(teacher)
    known[5:] = False
    drive(toward(rows, ends, known, 8), teacher.decide)
    assert teacher.count == 5 * 8
    drive(descend(rows, **FEW, rng=rng()), teacher.decide)
    assert teacher.count <= 5 * (8 + 20 + 5 + 8)
    assert rows.distance.isfinite().tolist() == known.tolist()


def search_all(
    rows: Boundaries, ends: Tensor, known: Tensor, rounds: int, *, seed: int = 0, **counts: int
) -> list[Search]:
    """BD toward one end, then all rounds of MBD; each begins when it is driven."""
    draws, counts = rng(seed), {**FEW, **counts}
    descents = [descend(rows, **counts, rng=draws) for _ in range(rounds)]
    return [toward(rows, ends, known, counts["bisections"]), *descents]


@pytest.mark.parametrize(
    ("rounds", "neighbours", "tolerance"), [(5, 20, 0.4), (10, 100, 0.06), (25, 200, 0.016)]
)
def test_the_minimal_distance_comes_down_to_the_hyperplanes(
    rounds: int, neighbours: int, tolerance: float
) -> None:
    teacher = HalfSpace()
    rows, ends, known = rows_with_ends(teacher)
    truth = -teacher.side(rows.samples)
    before = rows.distance.clone()
    for search in search_all(rows, ends, known, rounds, neighbours=neighbours, bisections=10):
        drive(search, teacher.decide)
        assert (rows.distance <= before).all(), "a distance never grows"
        before = rows.distance.clone()
    assert (rows.distance > truth - 1e-5).all(), "a real image is never nearer than the hyperplane"
    assert (rows.distance / truth - 1).mean() < tolerance


def test_descent_costs_what_the_formula_says() -> None:
    teacher = HalfSpace()
    rows, ends, known = rows_with_ends(teacher)
    drive(toward(rows, ends, known, 6), teacher.decide)
    turned = []
    for _ in range(3):
        start = teacher.count
        drive(descend(rows, neighbours=30, turns=4, bisections=6, rng=rng()), teacher.decide)
        turned.append((teacher.count - start - 20 * (30 + 4)) / 6)
    assert turned[0] == 20 > turned[-1] >= 0
    assert all(rows_turned.is_integer() for rows_turned in turned)


def test_equal_generators_ask_equal_images() -> None:
    asked = []
    for seed in (4, 4, 5):
        teacher = HalfSpace()
        for search in search_all(*rows_with_ends(teacher), 3, seed=seed):
            drive(search, teacher.decide)
        asked.append(torch.cat(teacher.asked))
    assert torch.equal(asked[0], asked[1])
    assert asked[0].shape != asked[2].shape or not torch.equal(asked[0], asked[2])


def test_it_goes_on_from_saved_tensors_as_if_never_stopped() -> None:
    teacher = HalfSpace()
    rows, ends, known = rows_with_ends(teacher)
    draws = rng()
    drive(toward(rows, ends, known, 8), teacher.decide)
    drive(descend(rows, **FEW, rng=draws), teacher.decide)
    saved = {name: tensor.clone() for name, tensor in vars(rows).items()}
    position = draws.get_state()
    drive(descend(rows, **FEW, rng=draws), teacher.decide)
    again = Boundaries(**saved)
    draws.set_state(position)
    drive(descend(again, **FEW, rng=draws), teacher.decide)
    assert all(torch.equal(tensor, vars(again)[name]) for name, tensor in vars(rows).items())


@pytest.mark.parametrize("budget", [0, 1, 19, 20, 133, 160, 161, 500, 561, 655, 700, 720])
def test_wherever_the_budget_ends_the_distances_are_upper_bounds(budget: int) -> None:
    teacher = HalfSpace(budget)
    rows, ends, known = rows_with_ends(teacher)
    complete = [drive(search, teacher.decide) for search in search_all(rows, ends, known, 1)]
    assert not all(complete)
    assert teacher.count == budget
    assert (teacher.side(rows.witness) > 0).all()
    assert torch.allclose(rows.distance, (rows.witness - rows.samples).flatten(1).norm(dim=1))
    assert (rows.distance > -teacher.side(rows.samples) - 1e-5).all()


def test_answers_of_a_request_that_was_cut_still_count() -> None:
    whole, cut = HalfSpace(), HalfSpace(budget=10)
    results = []
    for teacher in (whole, cut):
        rows, ends, known = rows_with_ends(teacher)
        drive(toward(rows, ends, known, 1), teacher.decide)
        results.append(rows.distance)
    ends_alone = (others(whole, 20) - samples()).flatten(1).norm(dim=1)
    assert torch.equal(results[1][:10], results[0][:10])
    assert torch.allclose(results[1][10:], ends_alone[10:])


def test_a_distance_below_a_grey_level_is_not_searched_on() -> None:
    own = torch.zeros(1, dtype=torch.int64)
    rows = Boundaries.start(torch.zeros(1, *SHAPE), own, own + 1)
    end = torch.zeros(1, *SHAPE)
    end[0, 0, 3, 3] = GREY
    rows.offer(own, end)
    assert rows.distance.item() == pytest.approx(GREY)
    assert drive(descend(rows, **FEW, rng=rng()), pytest.fail)


def test_rows_of_each_other_class_and_their_table() -> None:
    images = torch.rand(2, *SHAPE, generator=rng())
    rows = each_other_class(images, torch.tensor([1, 3]), 4)
    assert rows.own.tolist() == [1, 1, 1, 3, 3, 3]
    assert rows.target.tolist() == [0, 2, 3, 0, 1, 2]
    assert torch.equal(rows.samples[3:], on_grid(images[1:]).expand(3, *SHAPE))
    rows.distance = torch.arange(6.0)
    assert distance_table(rows, 4).tolist() == [[0, math.inf, 1, 2], [3, 4, 5, math.inf]]


def test_soft_scores_by_hand() -> None:
    distances = torch.tensor([[2.0, math.inf, 0.5], [4.0, math.inf, math.inf], [math.inf, 0.0, 1.0]])
    scores = soft_scores(distances, torch.tensor([1, 2, 0]))
    assert scores[0].tolist() == pytest.approx([0.5, 2.5, 2.0])
    assert scores[1].tolist() == pytest.approx([0.25, 0.0, 0.25]), "an unknown class gets 0"
    assert scores[2].tolist() == pytest.approx([256, 255, 1]), "below a grey level all distances are one"


def test_sample_distances_by_hand() -> None:
    pool = torch.tensor([0.0, 0.2, 0.4, 1.0]).view(4, 1, 1, 1).expand(4, *SHAPE)
    labels = torch.tensor([0, 1, 2, 1])
    own = torch.tensor([0, 0, 0])
    rows = Boundaries.start(pool[:1].repeat(3, 1, 1, 1), own, torch.tensor([1, 2, ANY_OTHER]))
    indices, distances = nearest(rows, pool, labels, k=2)
    expected = torch.tensor([[0.2, 1.0], [0.4, math.inf], [0.2, 0.4]]) * math.sqrt(64)
    assert torch.allclose(distances, expected)
    assert indices[distances.isfinite()].tolist() == [1, 3, 2, 1, 2]


def test_targeted_and_untargeted_distances_among_three_classes() -> None:
    def decide(images: Tensor) -> Tensor:
        return torch.bucketize(images.mean(dim=(1, 2, 3)), torch.tensor([0.3, 0.6]))

    pool = on_grid(torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1, 1).expand(3, *SHAPE))
    rows = Boundaries.start(
        pool[:1].repeat(3, 1, 1, 1), torch.zeros(3, dtype=torch.int64), torch.tensor([1, 2, -1])
    )
    indices, distances = nearest(rows, pool, decide(pool))
    drive(toward(rows, pool[indices[:, 0]], distances[:, 0].isfinite(), 10), decide)
    start = float(rows.samples[0].mean())
    expected = [8 * (0.3 - start), 8 * (0.6 - start), 8 * (0.3 - start)]
    assert rows.distance.tolist() == pytest.approx(expected, abs=9 * GREY)


def test_decisions_go_out_many_at_once() -> None:
    teacher = HalfSpace()
    for search in search_all(*rows_with_ends(teacher), 1, neighbours=100):
        drive(search, teacher.decide)
    assert len(teacher.asked) == 8 + 1 + 1 + 8, "bisections, all neighbours, all turns, bisections"


def test_a_search_that_has_nothing_to_do_asks_nothing() -> None:
    own = torch.zeros(2, dtype=torch.int64)
    rows = Boundaries.start(samples(2), own, own + 1)
    nobody: Callable[[Tensor], Tensor] = pytest.fail
    assert drive(toward(rows, samples(2), torch.zeros(2, dtype=torch.bool), 8), nobody)
    assert drive(descend(rows, **FEW, rng=rng()), nobody)
