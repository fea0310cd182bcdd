"""`ideal` as released: in each epoch every image is asked anew, and charged each time."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_trial import TASK, Door, MemoryKeeper, config, train

from raysys.distill.method import Setting
from raysys.distill.options import parse_options
from raysys.distill.registry import build_method
from raysys.distill.stopwatch import Stopwatch
from raysys.distill.trial import KeptRequests
from raysys.errors import UsageError
from raysys.oracle import Images
from raysys.teacher.service import LocalOracle

PUBLISHED: dict[str, Any] = {"labels": "official", "final_passes": 0, "augment": 0.0, "balance": False}


def asked(folder: Path, **options: Any) -> tuple[list[Images], list[int], int]:
    """The images of each request, the pool's size at each report, and the charge."""
    with Door(folder) as door:
        outcome = train(door, config(**{**PUBLISHED, "query_budget": 5000, **options}))
        return door.teacher.asked, [one.pool_size for one in outcome.reports], door.account().charged


@pytest.mark.parametrize(("batch", "epochs"), [(10, 1), (20, 3), (30, 5), (10, 12)])
def test_the_charge_is_that_of_the_released_loop(tmp_path: Path, batch: int, epochs: int) -> None:
    requests, pool, charged = asked(tmp_path, batch_size=batch, epochs=epochs)
    assert charged == batch * epochs * (epochs + 1) // 2
    assert [len(images) for images in requests] == [batch] * (epochs * (epochs + 1) // 2)
    assert pool == [batch * (epoch + 1) for epoch in range(epochs)], "the claim counts these alone"


@pytest.mark.parametrize(("budget", "epochs"), [(5000, 5), (10_000, 8), (25_000, 13)])
def test_a_strict_budget_ends_it_in_the_epoch_that_it_cannot_pay_for(
    tmp_path: Path, budget: int, epochs: int
) -> None:
    # The budgets and epochs that are known for batches of 250, here of 10.
    _, pool, charged = asked(tmp_path, batch_size=10, epochs=100, query_budget=budget // 25, passes=0)
    assert charged == budget // 25
    assert pool[epochs - 1] == 10 * epochs
    assert len(pool) == epochs + 1, "one more, cut short"
    assert pool[-1] == pool[-2] + charged - 10 * epochs * (epochs + 1) // 2, "what it paid for is kept"


def test_images_of_a_warm_up_are_asked_again_too(tmp_path: Path) -> None:
    _, pool, charged = asked(tmp_path, warmup_share=0.002, epochs=3)
    assert pool == [10, 30, 50, 70]
    assert charged == 10 * 4 + 20 * 6


def test_an_epoch_asks_each_image_or_its_mirror_whatever_the_task_allows(tmp_path: Path) -> None:
    requests, _, _ = asked(tmp_path, epochs=4)
    epochs = [np.concatenate(requests[start:end]) for start, end in [(0, 1), (1, 3), (3, 6), (6, 10)]]
    plain = mirrored = 0
    for before, after in pairwise(epochs):
        views = {image.tobytes() for image in after}
        for image in before:
            same, turned = image.tobytes() in views, image[..., ::-1].tobytes() in views
            assert same or turned
            plain, mirrored = plain + same, mirrored + turned
    assert min(plain, mirrored) > 0.3 * 120


def test_on_cifar_views_are_cropped_too(tmp_path: Path) -> None:
    what = config(**PUBLISHED, epochs=2, query_budget=60)
    with Door(tmp_path) as door:
        requests = KeptRequests(
            LocalOracle(door.service, what.uid, 60), MemoryKeeper(), Stopwatch(lambda: 0.0)
        )
        for _ in build_method(Setting(what, replace(TASK, dataset="cifar10"), requests)).run():
            pass
        first, *second = door.teacher.asked
    views = {image.tobytes() for image in np.concatenate(second)}
    unmoved = [image.tobytes() in views or image[..., ::-1].tobytes() in views for image in first]
    assert len(views) == 40
    assert sum(unmoved) < 0.3 * len(first), "of 81 places one is the old one"


def test_more_epochs_than_the_formula_holds_for_are_refused() -> None:
    with pytest.raises(UsageError, match=re.escape("epochs must be at most 400, but got epochs=401")):
        parse_options("ideal", {"labels": "official", "epochs": 401})
    parse_options("ideal", {"epochs": 401})
