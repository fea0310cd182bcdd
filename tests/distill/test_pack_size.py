from typing import Any

import pytest

from raysys.distill.ideal_options import IdealOptions
from raysys.distill.noise_options import NoiseOptions
from raysys.distill.pack_size import MOST, auto_pack, trial_bytes
from raysys.records import Task

MNIST = Task("mnist", (1, 28, 28), 10, False)
GIB = 2**30


@pytest.mark.parametrize(
    ("free", "trials"), [(80 * GIB, MOST), (10 * GIB, 8), (GIB, 1), (0, 1), (10 * GIB - 1, 7)]
)
def test_a_gpu_holds_what_its_free_memory_allows(free: int, trials: int) -> None:
    assert auto_pack("cuda", GIB, free) == trials


def test_a_cpu_trains_one_at_a_time() -> None:
    assert auto_pack("cpu", 1) == 1


@pytest.mark.parametrize(
    "more", [{"batch_size": 500}, {"g_width": 128}, {"train_batch": 8192}, {"query_budget": 4000}]
)
def test_a_larger_trial_needs_more(more: dict[str, Any]) -> None:
    assert trial_bytes(MNIST, "lenet5", IdealOptions(**more)) > trial_bytes(MNIST, "lenet5", IdealOptions())


def test_without_a_generator_and_with_a_smaller_student_it_needs_less() -> None:
    ideal, noise = IdealOptions(), NoiseOptions()
    assert trial_bytes(MNIST, "lenet5", noise) < trial_bytes(MNIST, "lenet5", ideal)
    assert trial_bytes(MNIST, "lenet5", ideal) < trial_bytes(MNIST, "resnet18", ideal)


def test_it_is_of_the_size_of_what_the_layers_put_out() -> None:
    """The generator's maps at full resolution are most of it: 250 images, 6 layers of 64 x 28 x 28."""
    least = 4 * 250 * 64 * 28 * 28 * 6
    assert least < trial_bytes(MNIST, "lenet5", IdealOptions()) < 10 * least
