from typing import Any

import pytest

from raysys.cluster.plan import check_space
from raysys.errors import DataError, SpaceError
from raysys.space.load import apply_overrides, load_space, smoke, space_names
from raysys.space.schema import OwnTask, Space


@pytest.mark.parametrize("name", space_names())
def test_shipped_spaces_fit_their_data_and_method(name: str) -> None:
    space = load_space(name)
    assert check_space(space) == check_space(smoke(space))


def changed(**overrides: Any) -> Space:
    return apply_overrides(load_space("digits"), overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"batch_size": 125}, "space digits: options: batch_size=125 does not divide by the 10 classes"),
        (
            {"batch_size": {"type": "int", "low": 100, "high": 250}},
            "parameters.batch_size: batch_size=101 does",
        ),
        (
            {"batch_size": 500},
            "query_budget must be at least batch_size, but got query_budget=300, batch_size=500",
        ),
        (
            {"query_budget": {"type": "int", "low": 200, "high": 900}},
            "query_budget must be at least batch_size, but got query_budget=200",
        ),
        ({"g_steps": {"type": "int", "low": 1, "high": 5000}}, "parameters.g_steps: option g_steps=5000"),
        ({"g_steps": "many"}, "options: option g_steps='many'"),
        ({"g_stepps": 3}, "options: unknown option 'g_stepps'"),
        ({"method": "idael"}, "unknown method 'idael'"),
    ],
)
def test_what_can_never_run_is_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        check_space(changed(**overrides))


def test_points_are_checked() -> None:
    points = [{"values": {"query_budget": 300, "batch_size": 400}}]
    batch = {"type": "categorical", "choices": [100, 400]}
    with pytest.raises(SpaceError, match=r"points.0.values: query_budget must be at least batch_size"):
        check_space(changed(batch_size=batch, points=points))


def test_an_own_data_set_brings_its_task() -> None:
    own = OwnTask(image_shape=[3, 32, 32], num_classes=5)
    space = changed(dataset="leaves", task=own.model_dump())
    task = check_space(space)
    assert (task.dataset, task.image_shape, task.num_classes, task.flip) == ("leaves", (3, 32, 32), 5, False)
    with pytest.raises(DataError, match="unknown data set 'leaves'"):
        check_space(changed(dataset="leaves"))
    with pytest.raises(SpaceError, match="digits is a shipped data set"):
        check_space(changed(task=own.model_dump()))


QUERIES = {"name": "queries", "direction": "minimize"}


@pytest.mark.parametrize(
    "objectives",
    [
        [{"name": "agreement", "direction": "maximize"}],
        [{"name": "agreement", "direction": "minimize"}, QUERIES],
        [{"name": "seconds", "direction": "minimize"}, QUERIES],
        [{"name": name, "direction": "maximize"} for name in ("agreement", "val_accuracy")] + [QUERIES],
    ],
)
def test_objectives_that_no_front_shows_are_refused(objectives: list[dict[str, str]]) -> None:
    with pytest.raises(SpaceError, match="objectives: only val_accuracy or agreement up, and queries down"):
        check_space(changed(objectives=objectives))


def test_seconds_may_be_a_third_objective() -> None:
    seconds = {"name": "seconds", "direction": "minimize"}
    score = {"name": "val_accuracy", "direction": "maximize"}
    check_space(changed(objectives=[score, seconds, QUERIES], limits={"seconds": 60.0}))
    with pytest.raises(SpaceError, match="seconds down may be a third"):
        check_space(changed(objectives=[score, QUERIES, {**seconds, "direction": "maximize"}]))


@pytest.mark.parametrize(("queries", "fits"), [(299, False), (300, True)])
def test_a_limit_that_no_trial_can_meet_is_refused(queries: int, fits: bool) -> None:
    space = changed(limits={"queries": queries})
    if fits:
        check_space(space)
        return
    with pytest.raises(SpaceError, match=r"limits.queries: no trial can stay within 299(?s:.*)budget is 300"):
        check_space(space)


def test_labelled_data_may_be_searched_by_agreement() -> None:
    check_space(changed(objectives=[QUERIES, {"name": "agreement", "direction": "maximize"}]))
