import numpy as np
import pytest
import torch
from tiny_trial import TASK, held_out, linear, pictures

from raysys.distill.evaluation import ROWS, evaluate, predict
from raysys.models.classifiers import build_classifier
from raysys.records import EvalSet


def test_accuracy_and_agreement_are_different_shares() -> None:
    images = pictures(8)
    found = predict(linear(), images)
    wrong = (found + 1) % 10
    labels = np.concatenate([found[:6], wrong[6:]])
    teacher = np.concatenate([wrong[:6], found[6:]])
    assert evaluate(linear(), EvalSet(images, labels, teacher)) == (0.75, 0.25)
    assert evaluate(linear(), held_out())[1] == 1, "the teacher agrees with itself"
    assert evaluate(linear(), EvalSet(images, None, teacher)) == (None, 0.25), "nobody labelled them"


def test_more_images_than_one_batch_keep_their_order() -> None:
    images = pictures(ROWS + 5)
    expected = linear()(torch.tensor(images) / 255).argmax(dim=1)
    assert predict(linear(), images).tolist() == expected.tolist()


@pytest.mark.parametrize("training", [True, False])
def test_looking_does_not_change_the_student(training: bool) -> None:
    student = build_classifier("cnn3", TASK, seed=0).train(training)
    statistics = [buffer.clone() for buffer in student.buffers()]
    alone = predict(student, pictures(9)[:1])[0]
    assert predict(student, pictures(9))[0] == alone, "batch statistics play no part"
    assert student.training is training
    assert all(torch.equal(a, b) for a, b in zip(student.buffers(), statistics, strict=True))


def test_a_student_that_says_nan_reaches_nothing() -> None:
    student = linear()
    with torch.no_grad():
        next(student.parameters())[3].fill_(torch.nan)  # one class of ten; argmax would take it for an answer
    assert (predict(student, pictures(3)) == -1).all()
    accuracy, agreement = evaluate(student, held_out())
    assert accuracy is not None and np.isnan([accuracy, agreement]).all()
    images = pictures(4)
    accuracy, agreement = evaluate(student, EvalSet(images, None, np.zeros(4, dtype=np.int64)))
    assert accuracy is None and np.isnan(agreement)
