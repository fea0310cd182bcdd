import pytest

from raysys.cluster.ray_cluster import place
from raysys.errors import UnreachableError
from raysys.space.schema import Resources


@pytest.mark.parametrize(
    ("cpus", "gpus", "asked", "there", "placed"),
    [
        (1, 0, None, {"CPU": 4}, (4, 0)),
        (1, 0, 3, {"CPU": 4, "GPU": 1}, (3, 0)),
        (2, 0, None, {"CPU": 5}, (2, 0)),
        (0, 0, None, {"CPU": 2}, (1, 0)),
        (1, 0.25, None, {"CPU": 8, "GPU": 1}, (3, 0.1)),  # beside the teacher's share
        (1, 1, None, {"CPU": 8, "GPU": 1}, (1, 0)),  # the whole GPU: else the trial would wait for ever
        (1, 1, None, {"CPU": 8, "GPU": 2}, (1, 0.1)),
    ],
)
def test_trials_and_teacher_fit_together(
    cpus: float, gpus: float, asked: int | None, there: dict[str, float], placed: tuple[int, float]
) -> None:
    each = Resources(cpus_per_trial=cpus, gpus_per_trial=gpus)
    assert place(each, asked, there) == placed


@pytest.mark.parametrize(
    ("networks", "gpus", "placed"), [(0, 1, (4, 0.0)), (2, 1, (3, 0.1)), (5, 1, (2, 0.1)), (9, 1, (4, 0.0))]
)
def test_each_network_of_the_teacher_takes_a_share(
    networks: int, gpus: float, placed: tuple[int, float]
) -> None:
    each = Resources(cpus_per_trial=1, gpus_per_trial=0.25)
    assert place(each, None, {"CPU": 8, "GPU": gpus}, networks) == pytest.approx(placed)


@pytest.mark.parametrize(("cpus", "gpus"), [(3.0, 0.0), (1.0, 0.5)])
def test_what_can_never_start_is_refused(cpus: float, gpus: float) -> None:
    each = Resources(cpus_per_trial=cpus, gpus_per_trial=gpus)
    with pytest.raises(UnreachableError, match=f"each needs {cpus:g} CPU and {gpus:g} GPU"):
        place(each, None, {"CPU": 2.0})
