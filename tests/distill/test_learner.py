from typing import Any

import pytest
import torch
from tiny_trial import STUDENT, TASK, held_out, linear, pictures

from raysys.distill.evaluation import evaluate
from raysys.distill.image_pool import ImagePool
from raysys.distill.learner import Learner, fresh_student
from raysys.distill.options import StudentOptions
from raysys.models.weights import state_sha256
from raysys.teacher.local import TorchTeacher


def pool(n: int = 60) -> ImagePool:
    filled = ImagePool(TASK.image_shape, TASK.num_classes)
    teacher = TorchTeacher(linear())
    for start in range(0, n, 20):
        images = pictures(n)[start : start + 20]
        filled.add(images, teacher.answer(images))
    return filled


def options(**changes: Any) -> StudentOptions:
    return StudentOptions(**{**STUDENT, **changes})


def fresh(pairs: ImagePool, seed: int = 0, **changes: Any) -> str:
    return state_sha256(fresh_student(pairs, "mlp", options(**changes), TASK, seed))


def test_the_pairs_the_recipe_and_the_seed_decide_a_fresh_student() -> None:
    assert fresh(pool()) == fresh(pool())
    assert fresh(pool()) != fresh(pool(), seed=1)
    assert fresh(pool()) != fresh(pool(), lr=0.01)
    assert fresh(pool()) != fresh(pool(40))
    assert fresh(pool()) == fresh(pool(), passes=9), "there are no rounds"
    assert fresh(pool()) == fresh(pool(), restart=True), "it is fresh already"


def test_the_first_queries_of_a_method_are_those_that_it_asked_first() -> None:
    assert fresh(pool().first(40)) == fresh(pool(40))
    assert fresh(pool().first(60)) == fresh(pool())
    assert len(pool().first(0)) == 0
    assert len(pool().first(99)) == 60


def test_a_fresh_student_learns_what_its_teacher_says() -> None:
    before = evaluate(Learner("mlp", options(), TASK, 0).student, held_out(200))[1]
    recipe = options(final_passes=60, train_batch=64, augment=0.0)
    student = fresh_student(pool(600), "mlp", recipe, TASK, 0)
    assert not student.training
    assert evaluate(student, held_out(200))[1] > before + 0.3


def test_a_fresh_student_is_the_restarted_one_of_a_trial() -> None:
    learner = Learner("mlp", options(restart=True), TASK, 0)
    learner.run_passes(pool(), torch.Generator().manual_seed(5))
    parts = 0
    rng = torch.Generator().manual_seed(7)
    while learner.final_part(pool(), rng) is not None:
        parts += 1
    other = Learner("mlp", options(), TASK, 0)
    rng = torch.Generator().manual_seed(7)
    while other.final_part(pool(), rng) is not None:
        pass
    assert parts == 2
    assert state_sha256(learner.student) == state_sha256(other.student)


@pytest.mark.parametrize(("passes", "parts"), [(0, 0), (1, 1), (2, 2), (5, 5), (6, 3), (7, 4), (50, 5)])
@pytest.mark.parametrize("generations", [1, 3])
def test_a_final_phase_stops_about_five_times(passes: int, parts: int, generations: int) -> None:
    learner = Learner("mlp", options(final_passes=passes, generations=generations), TASK, 0)
    rng, done = torch.Generator().manual_seed(0), 0
    while learner.final_part(pool(20), rng) is not None:
        done += 1
    assert done == parts * generations


def test_without_final_passes_there_is_no_fresh_student() -> None:
    with pytest.raises(ValueError, match="needs final_passes of at least 1"):
        fresh(pool(), final_passes=0)
