from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trial import TASK, Door, at_its_end, config, linear, train
from torch import Tensor

from raysys.distill.db3kd_options import Zsdb3kdOptions
from raysys.distill.options import parse_options
from raysys.distill.zsdb3kd import Zsdb3kd, balanced
from raysys.errors import UsageError
from raysys.teacher.local import TorchTeacher

SMALL: dict[str, Any] = {"query_budget": 600, "bisections": 2, "moves": 1, "block": 8, "candidates": 2}
KINDS: dict[str, dict[str, Any]] = {
    "noise": {"query_budget": 100, "distance": "sample", "moves": 0, "block": 30},
    "moved": {"query_budget": 300, "distance": "sample", "moves": 3, "search_rounds": 1, "neighbours": 4},
    "boundary": SMALL,
    "as published": {
        **SMALL,
        "distance": "minimal",
        "search_rounds": 1,
        "neighbours": 4,
        "turns": 2,
        "query_budget": 900,
        "learn_from": "samples",
    },
}


def finished(folder: Path, **options: Any) -> AbstractContextManager[tuple[Zsdb3kd, int]]:
    return at_its_end(folder, config(method="zsdb3kd", **options), Zsdb3kd)


def price(options: dict[str, Any]) -> int:
    complete = parse_options("zsdb3kd", options)
    assert isinstance(complete, Zsdb3kdOptions)
    return complete.sample_queries(TASK.num_classes)


def to_boundary(images: Tensor) -> Tensor:
    """The closed form: how far images (n, c, h, w) are from the nearest boundary of the linear teacher."""
    layer = linear()[1]
    assert isinstance(layer, torch.nn.Linear)
    with torch.no_grad():
        logits = layer(images.flatten(1))
        own = logits.argmax(dim=1)
        margin = logits.gather(1, own[:, None]) - logits
        apart = (layer.weight[own][:, None] - layer.weight[None]).norm(dim=2)
    distances: Tensor = (margin / apart).nan_to_num(torch.inf).amin(dim=1)
    return distances


def test_the_price_is_that_of_noise_moves_and_searches() -> None:
    options = Zsdb3kdOptions(
        distance="minimal",
        candidates=201,
        bisections=20,
        rounds=88,
        neighbours=200,
        turns=5,
        noise_per_sample=7,
        moves=40,
        halvings=3,
        search_candidates=20,
        search_rounds=22,
    )
    search = 20 * (1 + 20) + 22 * (200 + 5 + 20)
    assert options.sample_queries(10) == 7 + 40 * (search + 1 + 3) + options.label_queries(10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_is_spent_but_for_less_than_a_samples_price(tmp_path: Path, kind: str) -> None:
    options = {**KINDS[kind], "learn_from": "samples"}
    with finished(tmp_path, **options) as (method, charged):
        assert options["query_budget"] - price(options) < charged <= options["query_budget"]
        assert charged <= len(method.pool) * price(options)


def test_each_part_of_the_price_is_charged_in_full_where_all_of_it_is_asked(tmp_path: Path) -> None:
    """Noise of every class, a line that is bisected at once, a move that is not refused, nine lines more."""
    searches = {"noise_per_sample": 1, "moves": 1, "bisections": 4, "step": 1e-3, "halvings": 3}
    options: dict[str, Any] = {**searches, "query_budget": 4000, "block": 60, "learn_from": "samples"}
    for distance, labelling in (("sample", 0), ("boundary", 9 * 4)):
        with finished(tmp_path / distance, distance=distance, **options) as (method, charged):
            assert set(method.pool.batch(torch.arange(60))[1].argmax(dim=1).tolist()) == set(range(10))
            assert charged == len(method.pool) * (1 + 1 * (4 + 1) + labelling)


def test_refused_noise_is_charged(tmp_path: Path) -> None:
    options = {**KINDS["noise"], "learn_from": "samples"}
    with finished(tmp_path, noise_per_sample=1, **options) as (method, charged):
        assert charged == len(method.pool) == 100
    with finished(tmp_path / "4", noise_per_sample=4, **{**options, "query_budget": 120}) as (
        method,
        charged,
    ):
        # The first block has 30 samples, and noise until each class has 3 of them, 120 at most.
        assert len(method.pool) < charged <= 120


@pytest.mark.parametrize(
    ("labels", "n", "chosen"),
    [
        ([0, 0, 0, 1, 0, 2], 3, [0, 3, 5]),
        ([0, 0, 0, 1, 0, 2], 4, [0, 1, 3, 5]),
        ([0, 0, 1, 1, 2, 2], 5, [0, 1, 2, 3, 4]),
        ([1, 1], 5, [0, 1]),
    ],
)
def test_noise_is_kept_of_all_classes_equally(labels: list[int], n: int, chosen: list[int]) -> None:
    assert sorted(balanced(torch.tensor(labels), n, 3).tolist()) == chosen


def test_moves_take_samples_away_from_the_boundary(tmp_path: Path) -> None:
    far = []
    for moves in (0, 6):
        searches: dict[str, Any] = {"moves": moves, "step": 0.3, "search_rounds": 1, "neighbours": 30}
        options = {**searches, "distance": "sample", "query_budget": 3000, "learn_from": "samples"}
        with finished(tmp_path / str(moves), **options) as (method, _):
            far.append(float(to_boundary(method.pool.images.float() / 255).mean()))
    assert far[1] > 2 * far[0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_learnt_has_the_teachers_labels(tmp_path: Path, kind: str) -> None:
    with finished(tmp_path, **KINDS[kind]) as (method, charged):
        learnt = method.pool.batch(torch.arange(len(method.pool)))[1]
        labels = TorchTeacher(linear()).answer(method.pool.images.numpy()).labels
        assert learnt.argmax(dim=1).tolist() == labels.tolist()
        if kind != "as published":
            assert len(method.pool) > charged, "all that was asked, and the samples with soft labels"


def test_a_budget_below_one_sample_is_refused() -> None:
    least = price({})
    with pytest.raises(UsageError, match=rf"query_budget={least - 1} is less(?s:.*)query_budget={least} or"):
        Zsdb3kdOptions(query_budget=least - 1).check_task(TASK)
    Zsdb3kdOptions(query_budget=least).check_task(TASK)


@pytest.mark.parametrize("cap", [0, 1, 20, 60, 599])
def test_a_runs_cap_is_spent_exactly_and_what_was_answered_is_learnt(tmp_path: Path, cap: int) -> None:
    with Door(tmp_path, max_queries=cap) as door:
        outcome = train(door, config(method="zsdb3kd", **SMALL, learn_from="samples"))
        charged = door.account().charged if cap else 0
    assert outcome.reports[-1].queries == charged
    assert (outcome.reports[-1].pool_size > 0) == (cap > 0)
    assert min(cap, 600 - price(SMALL)) <= charged <= cap
    assert all(parameter.isfinite().all() for parameter in outcome.student.parameters())
