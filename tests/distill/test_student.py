import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trial import TASK, linear, pictures

from raysys.distill.ideal_options import IdealOptions
from raysys.distill.image_pool import ImagePool
from raysys.distill.student import StudentTrainer
from raysys.models.classifiers import build_classifier
from raysys.models.weights import state_sha256
from raysys.oracle import Response
from raysys.records import Task

PLAIN: dict[str, Any] = {"augment": 0.0, "balance": False, "weight_decay": 0.0, "train_batch": 64}
RICH: dict[str, Any] = {"augment": 0.5, "mixup": 0.4, "ema": 0.9, "train_batch": 16}


def recipe(**options: Any) -> IdealOptions:
    return IdealOptions(**{**PLAIN, **options})


def pool(n: int = 40, labels: list[int] | None = None) -> ImagePool:
    filled = ImagePool(TASK.image_shape, TASK.num_classes)
    filled.add(pictures(n), Response(np.arange(n) % 10 if labels is None else np.array(labels)))
    return filled


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_the_average_follows_its_formula() -> None:
    """After step t: mean = keep * mean + (1 - keep) * student, keep = min(decay, (1 + t) / (10 + t))."""
    trainer = StudentTrainer(linear(), recipe(ema=0.24), TASK)
    mean = weights(linear())
    for keep in (2 / 11, 0.24, 0.24):  # 3 / 12 and 4 / 13 are above the decay
        trainer.run_pass(pool(), rng())
        mean = keep * mean + (1 - keep) * weights(trainer.student)
        assert torch.allclose(weights(trainer.best), mean, atol=1e-6)


def test_the_average_normalises_as_the_student_does_after_a_pass() -> None:
    student = build_classifier("cnn3", TASK, seed=0)
    trainer = StudentTrainer(student, recipe(ema=0.9), TASK)
    before = [buffer.clone() for buffer in student.buffers()]
    trainer.run_pass(pool(), rng())
    for mean, latest in zip(trainer.best.buffers(), student.buffers(), strict=True):
        assert torch.equal(mean, latest)
    assert not all(map(torch.equal, before, student.buffers())), "batch norm has learnt"


def test_without_an_average_the_student_itself_is_best() -> None:
    trainer = StudentTrainer(linear(), recipe(), TASK)
    assert trainer.best is trainer.student


def test_the_rate_falls_along_a_cosine_to_almost_0() -> None:
    trainer = StudentTrainer(linear(), recipe(lr=0.5, train_batch=10), TASK, total_passes=6)
    rates = []
    for _ in range(6):
        trainer.run_pass(pool(), rng())
        rates.append(trainer.state_dict()["optimizer"]["rate"])
    steps = [(done + 3 / 4) / 6 for done in range(6)]  # the last of 4 batches sets the rate
    assert rates == pytest.approx([0.25 * (1 + math.cos(math.pi * step)) for step in steps], rel=1e-5)
    assert rates[-1] < 0.01 * 0.5


def test_without_a_length_the_rate_is_constant() -> None:
    trainer = StudentTrainer(linear(), recipe(lr=0.5), TASK)
    trainer.run_pass(pool(), rng())
    assert trainer.state_dict()["optimizer"]["rate"] == 0.5


def after_two_passes(trainer: StudentTrainer, data: ImagePool) -> str:
    for _ in range(2):
        trainer.run_pass(data, rng())
    return state_sha256(trainer.student)


def test_a_primer_of_weight_0_changes_nothing() -> None:
    primed = StudentTrainer(linear(), recipe(), TASK, primer=linear(seed=3), primer_weight=0.0)
    alone = StudentTrainer(linear(), recipe(), TASK)
    assert after_two_passes(primed, pool()) == after_two_passes(alone, pool())


def test_a_primer_of_weight_1_makes_the_labels_unimportant() -> None:
    results = [
        after_two_passes(
            StudentTrainer(linear(), recipe(), TASK, primer=linear(seed=3), primer_weight=weight),
            pool(labels=[label] * 40),
        )
        for weight in (1.0, 0.5)
        for label in (0, 1)
    ]
    assert results[0] == results[1]
    assert results[2] != results[3]


def test_what_the_student_gets_wrong_pulls_as_much_harder_as_it_weighs() -> None:
    """The first step on images that are all wrong is `wrong_weight` times as long, on right ones not."""
    predicted = linear()(torch.tensor(pictures(40)) / 255).argmax(dim=1)

    def moved(labels: torch.Tensor, weight: float) -> torch.Tensor:
        trainer = StudentTrainer(linear(), recipe(lr=0.001, wrong_weight=weight), TASK)
        trainer.run_pass(pool(labels=labels.tolist()), rng())
        return weights(trainer.student) - weights(linear())

    wrong = (predicted + 1) % 10
    assert torch.allclose(moved(wrong, 3.0), 3 * moved(wrong, 1.0), atol=1e-6)
    assert torch.equal(moved(predicted, 3.0), moved(predicted, 1.0))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_separable_task_is_learnt(optimizer: str) -> None:
    task = Task("halves", (1, 8, 8), 2, False)
    labels = np.arange(64) % 2
    images = pictures(64) // 4
    images[labels == 0, :, :, :4] += 128
    images[labels == 1, :, :, 4:] += 128
    data = ImagePool(task.image_shape, 2)
    data.add(images, Response(labels))
    student = build_classifier("mlp", task, seed=0)
    lr = {"sgd": 0.05, "adamw": 0.003}[optimizer]
    trainer = StudentTrainer(student, recipe(optimizer=optimizer, lr=lr, ema=0.9), task, total_passes=20)
    draws = rng()
    losses = [trainer.run_pass(data, draws) for _ in range(20)]
    assert losses[-1] < 0.1 < losses[0]
    predicted = trainer.best.eval()(torch.tensor(images) / 255).argmax(dim=1)
    assert predicted.tolist() == labels.tolist()


@pytest.mark.parametrize("options", [PLAIN, RICH, {**RICH, "optimizer": "adamw", "balance": True}])
def test_a_saved_trainer_goes_on_as_if_nothing_had_happened(options: dict[str, Any]) -> None:
    straight, stopped, resumed = (
        StudentTrainer(build_classifier("cnn3", TASK, seed=seed), IdealOptions(**options), TASK, 5)
        for seed in (0, 0, 1)
    )
    for trainer in (straight, stopped):
        draws = rng()
        trainer.run_pass(pool(), draws)
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    for trainer in (straight, resumed):
        draws = rng(7)
        for _ in range(2):
            trainer.run_pass(pool(), draws)
    assert state_sha256(straight.student) == state_sha256(resumed.student)
    assert state_sha256(straight.best) == state_sha256(resumed.best)
    assert straight.passes == resumed.passes == 3


@pytest.mark.parametrize("images", [1, 17, 33])
def test_a_single_image_left_over_does_not_break_batch_norm(images: int) -> None:
    student = build_classifier("resnet18", TASK, seed=0)
    trainer = StudentTrainer(student, recipe(train_batch=16), TASK)
    assert math.isfinite(trainer.run_pass(pool(images), rng()))


@pytest.mark.parametrize("balance", [True, False])
def test_an_empty_pool_teaches_nothing(balance: bool) -> None:
    trainer = StudentTrainer(linear(), recipe(balance=balance), TASK, total_passes=2)
    assert trainer.run_pass(ImagePool(TASK.image_shape, 10), rng()) == 0
    assert trainer.passes == 1
    assert state_sha256(trainer.student) == state_sha256(linear())
