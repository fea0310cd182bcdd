"""What `ideal` asks of the images that it generates; how it asks them again is in `test_official_labels`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trial import TASK, Door, config, train

from raysys.distill.trial import Outcome
from raysys.models.classifiers import build_classifier
from raysys.oracle import Images
from raysys.seeding import part_seed

STUDENT: Any = build_classifier("mlp", TASK, seed=part_seed(0, "student/0"))
"""The one that a trial with seed 0 begins with."""


def first_epoch(folder: Path, **options: Any) -> tuple[Outcome, Images]:
    """One epoch of 20 images, and what it asked in all."""
    with Door(folder) as door:
        outcome = train(door, config(epochs=1, **options))
        assert door.account().charged == outcome.reports[-1].queries
        return outcome, np.concatenate([np.empty((0, *TASK.image_shape), np.uint8), *door.teacher.asked])


@torch.no_grad()
def tops(images: Images) -> torch.Tensor:
    """The student's top probability of each image."""
    probabilities: torch.Tensor = STUDENT.eval()(torch.from_numpy(images).float() / 255).softmax(dim=1)
    return probabilities.amax(dim=1)


def test_only_what_the_student_is_unsure_of_is_asked_and_the_batch_is_filled_up(tmp_path: Path) -> None:
    plain = first_epoch(tmp_path / "plain")[1]
    threshold = float(tops(plain).median())
    outcome, asked = first_epoch(tmp_path / "picky", confidence_filter=threshold)
    assert len(asked) == 20, "what is refused is made up for, and costs nothing"
    assert tops(asked).max() <= threshold
    assert 0 < outcome.reports[0].losses["refused"] < 1
    assert "refused" not in first_epoch(tmp_path / "again")[0].reports[0].losses


@pytest.mark.parametrize("labels", ["once", "official"])
def test_where_too_little_is_found_less_is_asked(tmp_path: Path, labels: str) -> None:
    outcome, asked = first_epoch(tmp_path, confidence_filter=0.1001, labels=labels)
    assert len(asked) == 0
    assert outcome.reports[0].losses["refused"] == 1
    assert all(parameter.isfinite().all() for parameter in outcome.student.parameters())


def test_it_stops_looking_after_a_few_batches(tmp_path: Path) -> None:
    """Of a batch one or two pass: five batches do not fill one."""
    threshold = float(tops(first_epoch(tmp_path / "plain")[1]).sort().values[1])
    assert 0 < len(first_epoch(tmp_path / "few", confidence_filter=threshold)[1]) < 20


def test_high_entropy_makes_the_student_less_sure_of_what_is_asked(tmp_path: Path) -> None:
    one, ten = (first_epoch(tmp_path / str(steps), high_entropy=steps)[1] for steps in (1, 10))
    plain = first_epoch(tmp_path / "0")[1]
    assert tops(plain).mean() > tops(one).mean() > tops(ten).mean()
    assert np.abs(one.astype(int) - plain).max() in (8, 9), "a step of 0.03 is 7.65 levels, and rounded twice"
