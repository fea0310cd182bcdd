from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trial import TASK, Door, at_its_end, config, linear, pictures, train

from raysys.distill.db3kd import Db3kd, targets
from raysys.distill.db3kd_options import Db3kdOptions
from raysys.errors import UsageError
from raysys.oracle import Images
from raysys.records import Task
from raysys.teacher.local import TorchTeacher

IMAGES = pictures(80, seed=5)
SMALL: dict[str, Any] = {"query_budget": 300, "candidates": 2, "bisections": 2, "block": 4}
MINIMAL: dict[str, Any] = {**SMALL, "distance": "minimal", "neighbours": 4, "turns": 2, "query_budget": 400}
KINDS: dict[str, dict[str, Any]] = {
    "sample": {"distance": "sample", "query_budget": 70, "block": 20},
    "boundary": SMALL,
    "minimal": MINIMAL,
    "as published": {**MINIMAL, "learn_from": "samples"},
}


def labels_of(images: Images) -> Any:
    return TorchTeacher(linear()).answer(images).labels


def finished(
    folder: Path, images: Images = IMAGES, **options: Any
) -> AbstractContextManager[tuple[Db3kd, int]]:
    return at_its_end(folder, config(method="db3kd", **options), Db3kd, images)


def test_soft_labels_are_those_of_the_papers_scores() -> None:
    distances = torch.tensor([[torch.inf, 0.5, 0.25], [1.0, torch.inf, torch.inf], [torch.inf] * 3])
    options = Db3kdOptions(temperature=2.0, soft_weight=0.25)
    # Scores 2 + 4, 2, 4; then 1, 1 + 0, 0 where one class was never seen; then the label only.
    first, second = np.exp([3.0, 1.0, 2.0]), np.exp([0.5, 0.5, 0.0])
    expected = [first / first.sum() * 0.25 + [0.75, 0, 0], second / second.sum() * 0.25 + [0, 0.75, 0]]
    learnt = targets(distances, torch.tensor([0, 1, 2]), options)
    np.testing.assert_allclose(learnt, [*expected, [0, 0, 1]], rtol=1e-6)


def test_the_price_is_that_of_the_searches() -> None:
    counts = {"candidates": 201, "bisections": 20, "rounds": 88, "neighbours": 200, "turns": 5}
    boundary, minimal = 201 * (1 + 20), 201 * (1 + 20) + 88 * (200 + 5 + 20)
    assert Db3kdOptions(distance="minimal", **counts).sample_queries(10) == 1 + 9 * minimal == 216_190
    assert Db3kdOptions(distance="boundary", **counts).sample_queries(4) == 1 + 3 * boundary
    assert Db3kdOptions(distance="sample", **counts).sample_queries(10) == 1


def test_sample_distances_cost_a_query_an_image(tmp_path: Path) -> None:
    with finished(tmp_path, distance="sample", query_budget=70, block=20) as (method, charged):
        assert charged == len(method.pool) == 70


def test_boundaries_cost_the_bisections_to_each_class_that_was_seen(tmp_path: Path) -> None:
    own = labels_of(IMAGES)
    others = len(set(own.tolist())) - 1
    options: dict[str, Any] = {"candidates": 1, "bisections": 5, "block": 80, "query_budget": 80 * 55}
    with finished(tmp_path, **options) as (method, charged):
        assert charged == len(IMAGES) * (1 + others * 5)
        assert "all 80 images were asked" in method.note


@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_is_spent_but_for_less_than_a_samples_price(tmp_path: Path, kind: str) -> None:
    options = {**KINDS[kind], "learn_from": "samples"}
    with finished(tmp_path, **options) as (method, charged):
        most = Db3kdOptions(**options).sample_queries(TASK.num_classes)
        assert options["query_budget"] - most < charged <= options["query_budget"]
        assert charged <= len(method.pool) * most
        assert len(method.pool) >= options["query_budget"] // most


def test_the_samples_are_given_images_each_once_with_the_teachers_labels(tmp_path: Path) -> None:
    with finished(tmp_path, **KINDS["as published"]) as (method, _):
        pool = method.pool.images.numpy()
        given = {image.tobytes() for image in IMAGES}
        seen = [image.tobytes() for image in pool]
        assert set(seen) <= given
        assert len(set(seen)) == len(seen)
        learnt = method.pool.batch(torch.arange(len(pool)))[1]
        assert learnt.argmax(dim=1).tolist() == labels_of(pool).tolist()
        assert torch.allclose(learnt.sum(dim=1), torch.ones(len(pool)))


def test_by_default_every_answer_is_learnt_from(tmp_path: Path) -> None:
    with finished(tmp_path, **MINIMAL) as (method, charged):
        images, learnt = method.pool.batch(torch.arange(len(method.pool)))
        assert len(images) == charged
        assert learnt.argmax(dim=1).tolist() == labels_of(method.pool.images.numpy()).tolist()
        assert 0 < int((learnt.amax(dim=1) < 1).sum()) < charged


def test_too_few_images_are_told(tmp_path: Path) -> None:
    with finished(tmp_path, IMAGES[:30], distance="sample", query_budget=50) as (method, charged):
        assert charged == 30
        assert method.note == "all 30 images were asked; 20 of 50 queries were left unspent"
    with finished(tmp_path / "enough", IMAGES[:30], distance="sample", query_budget=30) as (method, charged):
        assert (charged, method.note) == (30, "")


def test_a_budget_below_one_sample_is_refused_before_any_query() -> None:
    options = Db3kdOptions(query_budget=36)
    with pytest.raises(UsageError, match=r"query_budget=36 is less(?s:.*)37 queries(?s:.*)query_budget=37"):
        options.check_task(TASK)
    Db3kdOptions(query_budget=37).check_task(TASK)
    options.check_task(Task("two", (1, 8, 8), 2, False))


@pytest.mark.parametrize("cap", [0, 1, 4, 40, 299])
def test_a_runs_cap_is_spent_exactly_and_what_was_answered_is_learnt(tmp_path: Path, cap: int) -> None:
    with Door(tmp_path, max_queries=cap) as door:
        outcome = train(door, config(method="db3kd", **SMALL), images=IMAGES)
        charged = door.account().charged if cap else 0
    assert outcome.reports[-1].queries == outcome.reports[-1].pool_size == charged
    assert min(cap, 300 - 55) <= charged <= cap
    assert all(parameter.isfinite().all() for parameter in outcome.student.parameters())
