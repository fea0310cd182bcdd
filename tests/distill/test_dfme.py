"""`dfme`: the game of generator and student, its charge, and what it keeps of it."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trial import TASK, Door, MemoryKeeper, config, train
from torch import nn

from raysys.distill.dfme import PreTanh, to_images
from raysys.distill.options import parse_options
from raysys.distill.trial import Outcome
from raysys.errors import UsageError
from raysys.models.classifiers import build_classifier
from raysys.models.weights import state_sha256
from raysys.records import Task
from raysys.seeding import part_seed

GAME: dict[str, Any] = {
    "method": "dfme",
    "response": "soft",
    "batch": 4,
    "g_width": 8,
    "latent_dim": 8,
    "replay": 2,
    "passes": 0,
    "query_budget": 100,
}
"""28 queries an iteration: 8 for the generator, 5 times 4 for the student."""


def once(folder: Path, cap: int | None = None, **options: Any) -> tuple[Outcome, Door]:
    with Door(folder, "soft", cap) as door:
        return train(door, config(**{**GAME, **options})), door


def states(keeper: MemoryKeeper) -> list[dict[str, Any]]:
    read = [torch.load(io.BytesIO(state), weights_only=True) for state in keeper.states]  # noqa: TID251
    return [state["method"] for state in read]


@pytest.mark.parametrize(
    ("options", "iteration"),
    [
        ({}, [8, *[4] * 5]),
        ({"directions": 3, "g_iter": 2, "d_iter": 1}, [16, 16, 4]),
        ({"moves": "published", "directions": 2}, [12, *[4] * 5]),
        ({"g_iter": 0, "d_iter": 3}, [4, 4, 4]),
        ({"batch": 5, "d_iter": 2}, [10, 5, 5]),
    ],
)
def test_an_iteration_charges_the_published_formula(
    tmp_path: Path, options: dict[str, Any], iteration: list[int]
) -> None:
    iterations = 3
    budget = sum(iteration) * iterations
    outcome, door = once(tmp_path, query_budget=budget, **options)
    assert door.teacher.forwards == iteration * iterations
    assert door.account().charged == outcome.reports[-1].queries == budget
    b, m = options.get("batch", 4), options.get("directions", 1)
    g, d = options.get("g_iter", 1), options.get("d_iter", 5)
    assert budget == iterations * b * (g * (m + 1) + d)


def test_the_published_iteration_charges_1792_queries() -> None:
    options = {"batch": 256, "directions": 1, "g_iter": 1, "d_iter": 5}
    parse_options("dfme", {**options, "query_budget": 1792})
    with pytest.raises(UsageError, match=re.escape("= 1,792 queries, but got query_budget=1,791")):
        parse_options("dfme", {**options, "query_budget": 1791})


@pytest.mark.parametrize(
    ("budget", "rest"), [(56, []), (57, [1]), (60, [4]), (67, [4, 4, 3]), (83, [4] * 6 + [3])]
)
def test_what_does_not_pay_for_an_iteration_goes_to_the_student(
    tmp_path: Path, budget: int, rest: list[int]
) -> None:
    outcome, door = once(tmp_path, query_budget=budget)
    assert door.teacher.forwards == [8, *[4] * 5] * 2 + rest
    assert outcome.reports[-1].queries == budget


@pytest.mark.parametrize(
    ("cap", "asked"), [(5, [5]), (8, [8]), (11, [8, 3]), (30, [8, *[4] * 5, 2]), (0, [])]
)
def test_a_run_budget_that_ends_within_a_step_is_spent_to_the_last_image(
    tmp_path: Path, cap: int, asked: list[int]
) -> None:
    outcome, door = once(tmp_path, cap)
    assert door.teacher.forwards == asked
    assert outcome.reports[-1].queries == outcome.reports[-1].pool_size == cap
    assert all(parameter.isfinite().all() for parameter in outcome.student.parameters())


@pytest.mark.parametrize(
    ("rounds", "queries"), [(1, [100]), (2, [56, 100]), (3, [28, 56, 100]), (50, [28, 56, 100])]
)
def test_it_reports_after_rounds_of_several_iterations(
    tmp_path: Path, rounds: int, queries: list[int]
) -> None:
    outcome, _ = once(tmp_path, rounds=rounds, final_passes=0)
    assert [report.queries for report in outcome.reports] == queries
    assert {"generator", "student"} == set(outcome.reports[0].losses)


@pytest.mark.parametrize("levels", [1, 3])
def test_signs_move_every_pixel_by_whole_grey_levels(tmp_path: Path, levels: int) -> None:
    _, door = once(tmp_path, levels=levels, directions=3)
    points = door.teacher.asked[0].astype(int).reshape(4, 4, -1)
    assert (np.abs(points[:, 1:] - points[:, :1]) == levels).all()


def test_published_moves_leave_nearly_every_pixel_as_it_was(tmp_path: Path) -> None:
    _, door = once(tmp_path, moves="published", directions=20, query_budget=200)
    points = door.teacher.asked[0].astype(int).reshape(4, 21, -1)
    assert np.mean(points[:, 1:] == points[:, :1]) > 0.95


def test_the_students_steps_are_sgd_on_the_distance_to_centred_log_probabilities(tmp_path: Path) -> None:
    options = {
        "g_iter": 0,
        "d_iter": 1,
        "replay": 0,
        "final_passes": 0,
        "query_budget": 8,
        "lr_steps": "none",
    }
    with Door(tmp_path, "soft") as door:
        outcome = train(door, config(**{**GAME, **options, "s_lr": 0.1, "weight_decay": 0.01}))
        answers = [
            door.teacher.predict(images, Unmetered()).probabilities for images in door.teacher.asked[:2]
        ]
    net = build_classifier("mlp", TASK, seed=part_seed(0, "student/0")).train()
    speeds = [torch.zeros_like(parameter) for parameter in net.parameters()]
    for images, told, report in zip(door.teacher.asked, answers, outcome.reports, strict=False):
        logs = torch.tensor(told).log()
        wrong = net(torch.tensor(images) / 255) - (logs - logs.mean(dim=1, keepdim=True))
        loss = (wrong.abs().sum(dim=1) / 10).mean()
        assert report.losses["student"] == pytest.approx(loss.item(), rel=1e-4)
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for parameter, speed, gradient in zip(net.parameters(), speeds, gradients, strict=True):
                speed.mul_(0.9).add_(gradient + 0.01 * parameter)
                parameter -= 0.1 * speed
    for wanted, found in zip(net.parameters(), outcome.student.parameters(), strict=True):
        assert torch.allclose(wanted, found, atol=1e-5)


class Unmetered:
    def sent(self, attempt: int, rows: int) -> None:
        pass


def test_the_generator_looks_for_images_where_the_student_is_wrong(tmp_path: Path) -> None:
    still = {"s_lr": 1e-9, "replay": 0, "d_iter": 1, "final_passes": 0, "weight_decay": 0.0}
    seeking = {"directions": 32, "g_iter": 1, "g_lr": 5e-3, "batch": 16, "lr_steps": "none"}
    budget = 40 * 16 * 34
    outcome, _ = once(tmp_path, rounds=40, query_budget=budget, **still, **seeking)
    distances = [-report.losses["generator"] for report in outcome.reports]
    assert np.mean(distances[-5:]) > 1.3 * np.mean(distances[:5]) > 0


def test_the_students_batch_norm_sees_the_images_of_its_own_steps_only(tmp_path: Path) -> None:
    outcome, _ = once(tmp_path, student="cnn3", query_budget=56, final_passes=0)
    counts = [one.num_batches_tracked for one in outcome.student.modules() if isinstance(one, nn.BatchNorm2d)]
    assert counts
    assert {int(count) for count in counts} == {2 * (5 + 2)}, "two iterations of 5 steps and 2 of replay"


@pytest.mark.parametrize(
    ("lr_steps", "falls"),
    [
        ("cifar", [0, 1, 1, 2, 2, 3, 3, 3, 3, 3]),
        ("svhn", [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]),
        ("none", [0] * 10),
    ],
)
def test_both_rates_fall_as_published(tmp_path: Path, lr_steps: str, falls: list[int]) -> None:
    keeper = MemoryKeeper()
    rates = {"s_lr": 0.1, "g_lr": 1e-4, "lr_steps": lr_steps, "query_budget": 280, "final_passes": 0}
    with Door(tmp_path, "soft") as door:
        train(door, config(**{**GAME, **rates}), keeper)
    for name, first in (("s_optimizer", 0.1), ("g_optimizer", 1e-4)):
        seen = [state[name]["param_groups"][0]["lr"] for state in states(keeper)]
        assert seen == pytest.approx([first * 0.3**n for n in falls])


def test_images_fill_the_range_whatever_the_weights_are() -> None:
    torch.manual_seed(0)
    net = PreTanh((3, 8, 8), 8, 8)
    values = net(torch.randn(64, 8))
    assert torch.allclose(values.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(values.var(dim=(0, 2, 3), unbiased=False), torch.ones(3), atol=1e-2)
    assert to_images(torch.tensor([-20.0, 0.0, 20.0])).tolist() == [0.0, 0.5, 1.0]


def test_the_pool_has_the_first_answers_and_no_more_than_its_limit(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    with Door(tmp_path, "soft") as door:
        outcome = train(door, config(**{**GAME, "pool_limit": 30}), keeper)
        asked = np.concatenate(door.teacher.asked)
    assert [report.pool_size for report in outcome.reports[:3]] == [28, 30, 30]
    assert outcome.reports[-1].queries == len(asked) == 100
    pool = states(keeper)[-1]["pool"]
    np.testing.assert_array_equal(pool["images"], asked[:30])
    assert pool["probabilities"].shape == (30, 10)


def test_as_released_it_keeps_nothing_and_delivers_the_student_of_the_game(tmp_path: Path) -> None:
    released = {"pool_limit": 0, "replay": 0, "passes": 0, "final_passes": 0}
    outcome, _ = once(tmp_path / "released", **released)
    averaged, _ = once(tmp_path / "averaged", **released, ema=0.9)
    assert outcome.reports[-1].pool_size == 0
    assert state_sha256(outcome.student) == state_sha256(averaged.student)
    fresh = build_classifier("mlp", TASK, seed=part_seed(0, "student/0"))
    assert state_sha256(outcome.student) != state_sha256(fresh)


def test_the_final_phase_goes_on_from_the_game_unless_it_restarts(tmp_path: Path) -> None:
    still = {"lr": 1e-9, "weight_decay": 0.0, "final_passes": 1, "ema": 0.5}
    game, _ = once(tmp_path / "game", **{**still, "final_passes": 0})
    final, _ = once(tmp_path / "final", **still)
    fresh, _ = once(tmp_path / "fresh", **still, restart=True)

    def near(one: nn.Module, other: nn.Module) -> bool:
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        return all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)

    first = build_classifier("mlp", TASK, seed=part_seed(0, "student/0"))
    assert near(final.student, game.student)
    assert near(fresh.student, first)
    assert not near(game.student, first)


def test_a_teacher_that_tells_labels_only_is_refused_before_any_query(tmp_path: Path) -> None:
    with Door(tmp_path) as door:
        with pytest.raises(UsageError, match="method dfme cannot learn from a teacher that is hard"):
            train(door, config(**{**GAME, "response": "hard"}))
        assert door.account().charged == 0


def test_what_cannot_work_is_refused() -> None:
    for name in ("replay", "passes", "final_passes"):
        nothing = {"pool_limit": 0, "replay": 0, "passes": 0, "final_passes": 0}
        parse_options("dfme", nothing)
        with pytest.raises(UsageError, match="with pool_limit=0 replay, passes and final_passes must be 0"):
            parse_options("dfme", {**nothing, name: 1})
    with pytest.raises(UsageError, match="method dfme cannot make images of 30x28 pixels, as leaves has"):
        parse_options("dfme", {}).check_task(Task("leaves", (1, 30, 28), 10, False))
    parse_options("dfme", {}).check_task(Task("leaves", (1, 28, 28), 7, False))
