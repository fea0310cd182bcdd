"""Method `surrogate`. That it resumes bit for bit is in `test_trial`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trial import TASK, Door, MemoryKeeper, config, pictures, real_images, train

from raysys.distill.options import described
from raysys.distill.selection import pick
from raysys.distill.trial import Outcome
from raysys.models.classifiers import build_classifier
from raysys.oracle import Images
from raysys.seeding import part_seed


def surrogate(
    folder: Path, images: Images, seed: int = 0, cap: int | None = None, **options: Any
) -> tuple[Outcome, list[Images], int]:
    """The outcome of a trial, its requests, and its charge."""
    with Door(folder, max_queries=cap) as door:
        outcome = train(door, config(seed, method="surrogate", **options), images=images)
        return outcome, door.teacher.asked, door.account().charged


def contents(images: Images) -> list[bytes]:
    return [image.tobytes() for image in images]


@pytest.mark.parametrize(
    ("options", "cap", "requests"),
    [
        ({}, None, [50]),
        ({"rounds": 3}, None, [17, 16, 17]),
        ({"rounds": 3, "candidates": 2}, None, [17, 16, 17]),
        ({"query_budget": 70, "rounds": 2}, None, [35, 35]),
        ({"query_budget": 90, "rounds": 3, "candidates": 3}, None, [30, 30, 10]),
        ({"query_budget": 90, "rounds": 2}, 60, [45, 15]),
    ],
)
def test_the_charge_is_the_budget_or_all_images(
    tmp_path: Path, options: dict[str, Any], cap: int | None, requests: list[int]
) -> None:
    images = pictures(70, seed=1)
    outcome, asked, charged = surrogate(tmp_path, images, cap=cap, **options)
    assert [len(one) for one in asked] == requests
    assert charged == sum(requests) == outcome.reports[-1].queries == outcome.reports[-1].pool_size
    told = contents(np.concatenate(asked))
    assert len(set(told)) == len(told), "each image once"
    assert set(told) <= set(contents(images)), "and no others"


def test_when_all_images_were_asked_it_says_so(tmp_path: Path) -> None:
    twice = np.concatenate([pictures(30), pictures(30)])
    outcome, _, charged = surrogate(tmp_path, twice, query_budget=90, rounds=3)
    assert charged == 30, "two images with the same pixels are one"
    assert outcome.note == "all 30 real images were asked; 60 of 90 queries were left unspent"
    assert surrogate(tmp_path / "all", pictures(30), query_budget=30)[0].note == ""


def test_the_order_is_random_and_decided_by_the_seed(tmp_path: Path) -> None:
    images = pictures(70)
    first, again, other = (
        surrogate(tmp_path / str(number), images, seed)[1][0] for number, seed in enumerate((0, 0, 1))
    )
    np.testing.assert_array_equal(first, again)
    assert contents(first) != contents(other)
    assert contents(first) != contents(images[:50])


def test_with_candidates_the_student_picks_among_random_ones(tmp_path: Path) -> None:
    images = pictures(70)
    _, asked, _ = surrogate(tmp_path, images, query_budget=20, candidates=3)
    rng = torch.Generator().manual_seed(part_seed(0, "surrogate"))
    drawn = torch.from_numpy(images[torch.randperm(70, generator=rng)[:60].numpy()])
    untrained = build_classifier("mlp", TASK, seed=part_seed(0, "student/0"))
    chosen = pick(untrained, drawn.float() / 255, 20)
    np.testing.assert_array_equal(asked[0], drawn[chosen].numpy())


def test_on_another_machine_no_image_is_paid_for_twice(tmp_path: Path) -> None:
    """The second attempt would ask others; what the first one paid for is not asked again later."""
    what = config(method="surrogate", query_budget=70, rounds=2)
    other = config(1, method="surrogate", query_budget=70, rounds=2)
    images, keeper = pictures(70), MemoryKeeper(fail_at=0)
    with Door(tmp_path) as door:
        with pytest.raises(InterruptedError):
            train(door, what, keeper, images=images)
        outcome = train(door, other, keeper, images=images)
        told = contents(np.concatenate(door.teacher.asked))
        assert door.account().charged == len(told) == 70
    assert set(told) == set(contents(images))
    assert outcome.note == ""


def test_what_sees_real_images_is_shown_as_such() -> None:
    assert described("surrogate") == "surrogate (real images: not data-free)"
    assert described("noise") == "noise"
    assert described("of a package that is gone") == "of a package that is gone"
    assert real_images(config()) is None
