import copy
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_trial import TASK, Counts, pictures

from raysys.models.classifiers import build_classifier
from raysys.models.weights import state_sha256
from raysys.space.schema import Recipe, TeacherSpec
from raysys.teacher.hard import Network
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.local import TorchTeacher
from raysys.teacher.tuning import SAFETY, HardSource, safe_margin, tuned


@pytest.mark.parametrize("name", ["mlp", "cnn3", "lenet5"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_tuned_teacher_answers_as_before_whatever_it_chose(name: str, dtype: torch.dtype | None) -> None:
    module = build_classifier(name, TASK, seed=3).eval()
    expected = TorchTeacher(copy.deepcopy(module)).answer(pictures(500)).labels
    teacher = tuned(Network(module, "cpu", torch.float32, 32), dtype, pictures(100, seed=1))
    assert teacher.predict(pictures(500), Counts()).labels.tolist() == expected.tolist()


def test_the_safe_margin_is_that_of_the_two_logits_that_moved_most() -> None:
    full = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]])
    reduced = full + torch.tensor([[0.1, 0.1, 0.1], [0.0, 0.25, -0.25]])
    assert safe_margin(full, reduced) == pytest.approx(SAFETY * 0.5)


def test_a_network_that_overflows_has_no_safe_margin() -> None:
    reduced = torch.tensor([[1.0, float("inf")], [0.0, 1.0]])
    margin = safe_margin(torch.zeros(2, 2), reduced)
    assert not torch.tensor([[0.0, 1e30]]).diff() >= margin


def test_a_kept_teacher_says_how_it_answers_and_stays_the_same_teacher(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = TeacherSpec(architecture="mlp", recipe=Recipe(epochs=1), precision="float32")
    kept = KeptTeacher(str(tmp_path), spec, TASK)
    module = build_classifier("mlp", TASK, seed=7)
    kept.keep(module)
    source = HardSource(kept, lambda: pictures(50))
    with caplog.at_level(logging.INFO, "raysys"):
        teacher = source.backend("cpu")
    assert "the teacher answers in float32" in caplog.text
    assert "bfloat16" not in caplog.text
    assert source.sha256() == state_sha256(module)
    images = pictures(40, seed=2)
    expected = TorchTeacher(module.eval()).answer(images).labels
    np.testing.assert_array_equal(teacher.predict(images, Counts()).labels, expected)
