import numpy as np
import torch
from tiny_trial import TASK, Counts, linear, pictures

from raysys.models.classifiers import build_classifier
from raysys.models.weights import state_sha256
from raysys.teacher.local import TorchTeacher


def test_answers_are_the_softmax_of_the_module_on_pixels_from_0_to_1() -> None:
    images = pictures(7)
    expected = linear()(torch.tensor(images) / 255).softmax(dim=1).detach().numpy()
    answer = TorchTeacher(linear()).answer(images)
    assert answer.probabilities is not None
    np.testing.assert_allclose(answer.probabilities, expected, rtol=1e-5)
    assert answer.labels.dtype == np.int64
    assert answer.labels.tolist() == expected.argmax(axis=1).tolist()


def test_many_images_are_answered_in_parts_and_counted_once() -> None:
    images = pictures(23)
    meter = Counts()
    whole = TorchTeacher(linear()).answer(images)
    parts = TorchTeacher(linear(), chunk=5).predict(images, meter)
    assert meter.spans == [(0, 23)]
    assert whole.labels.tolist() == parts.labels.tolist()
    assert parts.probabilities is not None
    np.testing.assert_allclose(whole.probabilities, parts.probabilities, rtol=1e-5)


def test_asking_does_not_change_the_teacher() -> None:
    module = build_classifier("cnn3", TASK, seed=0).train()
    before = state_sha256(module)
    TorchTeacher(module).predict(pictures(8), Counts())
    assert state_sha256(module) == before
