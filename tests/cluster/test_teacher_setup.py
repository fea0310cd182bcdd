from pathlib import Path

import numpy as np
import ray
from tiny_trial import Counts

from raysys.cluster.problem import HeldOut, Problem
from raysys.cluster.teacher import teacher_setup
from raysys.models.classifiers import build_classifier
from raysys.records import Task, TeacherCard
from raysys.space.load import load_space
from raysys.store.layout import RunLayout
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.local import TorchTeacher

TASK = Task("cifar10", (3, 32, 32), 10, True)


def problem(folder: Path) -> Problem:
    space = load_space("cifar10")
    teacher = KeptTeacher(str(folder), space.teacher.model_copy(update={"architecture": "cnn3"}), TASK)
    teacher.keep(build_classifier("cnn3", TASK, seed=0))
    images = np.random.default_rng(0).integers(0, 256, (500, 3, 32, 32)).astype(np.uint8)
    part = HeldOut(images, None)
    return Problem(TASK, teacher, TeacherCard("0", "cnn3", "0", None, None), part, part)


def test_a_hard_teacher_is_tuned_and_small_enough_for_a_restart(tmp_path: Path) -> None:
    """Ray puts what is larger into its object store, and loses it with the node that holds it."""
    one = problem(tmp_path)
    setup = teacher_setup(load_space("cifar10"), one, RunLayout(tmp_path))
    assert len(ray.cloudpickle.dumps(setup)) < 90_000
    answer = setup.source.backend("cpu").predict(one.val.images, Counts())
    assert answer.probabilities is None
    expected = TorchTeacher(one.teacher.open()).answer(one.val.images).labels  # type: ignore[attr-defined]
    assert answer.labels.tolist() == expected.tolist()


def test_soft_answers_come_from_the_network_as_it_is(tmp_path: Path) -> None:
    one = problem(tmp_path)
    space = load_space("cifar10").model_copy(update={"response": "soft"})
    assert teacher_setup(space, one, RunLayout(tmp_path)).source is one.teacher
