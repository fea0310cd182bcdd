import math
from dataclasses import replace

import pytest
from edge_runs import RUNS, build, config, trial, write_run

from raysys.store.front_distance import front_distances
from raysys.store.points import varying_parameters
from raysys.store.reader import read_run

LR = {"option": "lr", "type": "float", "log": True}
SPACE = {
    "name": "digits",
    "parameters": {
        "g_steps": {"type": "int", "low": 0, "high": 100},
        "lr_sgd": {**LR, "low": 0.01, "high": 1.0, "when": {"kind": "sgd"}},
        "lr_adam": {**LR, "low": 1e-4, "high": 0.01, "when": {"kind": "adam"}},
        "kind": {"type": "categorical", "choices": ["sgd", "adam"]},
    },
}


def run_of(tmp_path, options, space=SPACE):
    """Trials by rising queries and score, so that all are on the front, and a last one that is not."""
    last = len(options) - 1
    records = [
        replace(
            trial(n, queries=100 * (n + 1), val_accuracy=0.1 if n == last else 0.9 + n / 1000),
            config=config(n, **one),
        )
        for n, one in enumerate(options)
    ]
    return read_run(write_run(tmp_path / "run", records, space=space))


def rows(tmp_path, options, **changes):
    run = run_of(tmp_path, options, **changes)
    return {row.pop("parameter"): row for row in front_distances(run, f"u{len(options) - 1:05d}").to_pylist()}


def test_distance_is_a_share_of_the_declared_range_on_its_scale(tmp_path):
    found = rows(
        tmp_path,
        [
            {"g_steps": 10, "lr": 0.1, "kind": "sgd"},
            {"g_steps": 20, "lr": 0.1, "kind": "sgd"},
            {"g_steps": 90, "lr": 0.1, "kind": "adam"},
            {"g_steps": 70, "lr": 1.0, "kind": "sgd"},
        ],
    )
    assert found["g_steps"] == {"value": "70", "front": "20", "distance": 0.5, "range": "0 .. 100", "n": 3}
    assert found["lr"]["distance"] == pytest.approx(0.5)
    assert found["lr"]["range"] == "0.01 .. 1 log"
    assert found["kind"] == {"value": "sgd", "front": "sgd", "distance": None, "range": "sgd, adam", "n": 3}


def test_the_range_is_of_the_parameter_that_was_active(tmp_path):
    found = rows(tmp_path, [{"lr": 0.01, "kind": "sgd"}, {"lr": 0.001, "kind": "adam"}])
    assert found["lr"]["range"] == "0.0001 .. 0.01 log"
    assert found["lr"]["distance"] == pytest.approx(math.log(0.1) / math.log(100))


@pytest.mark.parametrize("parameters", [{}, {"g_steps": {"type": "spline"}}])
def test_without_a_known_range_there_is_no_distance(parameters, tmp_path):
    space = {"name": "digits", "parameters": parameters}
    found = rows(tmp_path, [{"g_steps": 10}, {"g_steps": 20}], space=space)
    assert found["g_steps"] == {"value": "20", "front": "10", "distance": None, "range": None, "n": 1}


def test_a_run_without_a_front_has_values_only(tmp_path):
    run = read_run(build(tmp_path, "failed-only"))
    assert front_distances(run, "u00001").to_pylist() == [
        {"parameter": "g_steps", "value": "11", "front": None, "distance": None, "range": None, "n": 0}
    ]


@pytest.mark.parametrize("name", [name for name in RUNS if name != "none"])
def test_every_edge_case_run_tells_the_parameters_that_differ(name, tmp_path):
    run = read_run(build(tmp_path, name))
    for uid in run.trials["uid"].to_pylist()[:3]:
        assert set(front_distances(run, uid)["parameter"].to_pylist()) <= set(varying_parameters(run))
