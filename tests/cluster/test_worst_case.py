import os
from pathlib import Path
from typing import Any

import pytest
from edge_runs import config, trial, write_run

from raysys.cluster.worst_case import trials_like, worst_case
from raysys.records import TrialRecord, TrialStatus
from raysys.space.load import apply_overrides, load_space, to_json
from raysys.space.schema import Space
from raysys.store.runs import latest_layouts

HTTP = {"architecture": None, "recipe": None, "http": {"url": "http://127.0.0.1:1", "queries_per_second": 20}}


def space(**changes: Any) -> Space:
    return apply_overrides(load_space("digits"), {"trials": 7, "query_budget": 1000, **changes})


def took(seconds: float, queries: int, **values: Any) -> TrialRecord:
    return trial(0, seconds=seconds, queries=queries, **values)


def test_every_trial_spends_its_largest_budget() -> None:
    searched = apply_overrides(load_space("digits"), {"trials": 7})
    worst = worst_case(searched, {}, [], 2)
    assert (worst.queries, worst.held_out, worst.cost) == (7 * 5000, None, None)
    assert (worst.trial_seconds, worst.seconds, worst.judged_by) == (None, None, 0)


def test_known_held_out_images_cost_too() -> None:
    worst = worst_case(space(held_out=200, price=0.01), {}, [], 2)
    assert (worst.queries, worst.held_out, worst.cost) == (7200, 200, pytest.approx(72.0))


@pytest.mark.parametrize(("caps", "queries"), [({"queries": 900}, 900), ({"cost": 5.0}, 500), ({}, 7000)])
def test_no_more_than_the_caps_is_spent(caps: dict[str, float], queries: int) -> None:
    worst = worst_case(space(price=0.01), caps, [], 2)
    assert (worst.queries, worst.cost) == (queries, pytest.approx(queries / 100))


def test_the_slowest_trial_tells_the_time() -> None:
    worst = worst_case(space(), {}, [took(2, 1000), took(2, 400), took(9, 3000)], 2)
    assert worst.trial_seconds == pytest.approx(5.0)  # 2 s / 400 queries x 1000
    assert worst.seconds == pytest.approx(4 * 5.0)  # 7 trials, 2 at once: 4 rounds
    assert worst.judged_by == 3


def test_trials_that_did_not_spend_their_budget_tell_no_time() -> None:
    odd = [
        took(50, 10, status=TrialStatus.FAILED),
        took(50, 10, status=TrialStatus.STOPPED),
        took(50, 10, error="ended early"),
        took(50, 0),
    ]
    assert worst_case(space(), {}, odd, 1).seconds is None
    assert worst_case(space(), {}, [*odd, took(1, 1000)], 1).seconds == pytest.approx(7.0)


@pytest.mark.parametrize(("seconds", "total"), [(None, 360.0), (1.0, 360.0), (100.0, 700.0)])
def test_a_rate_limit_is_never_beaten(seconds: float | None, total: float) -> None:
    earlier = [] if seconds is None else [took(seconds, 1000)]
    limited = space(teacher=HTTP, held_out=200)
    assert worst_case(limited, {}, earlier, 1).seconds == pytest.approx(total)  # 7200 queries, 20 a second


def test_only_runs_that_are_alike_are_read(tmp_path: Path) -> None:
    mine = space()
    alike = to_json(apply_overrides(mine, {"trials": 99, "price": 0.5}))
    write_run(tmp_path / "a", [trial(0), trial(1)], space=alike)
    for key, value in (("student", "cnn3"), ("method", "noise"), ("response", "soft"), ("dataset", "mnist")):
        write_run(tmp_path / key, [trial(2)], space={**alike, key: value})
    write_run(tmp_path / "old", [trial(3)])
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{")
    assert [one.uid for one in trials_like(tmp_path, mine)] == [config(0).uid, config(1).uid]
    assert trials_like(tmp_path / "none", mine) == []


def test_only_the_latest_runs_are_read(tmp_path: Path) -> None:
    for number, written in enumerate((50, 90, 70, 20)):
        layout = write_run(tmp_path / f"r{number}", [trial(number)], space=to_json(space()))
        os.utime(layout.run_json, (written, written))
    assert [layout.root.name for layout in latest_layouts(tmp_path, 2)] == ["r1", "r2"]
    uids = [one.uid for one in trials_like(tmp_path, space())]
    assert uids == [config(number).uid for number in (1, 2, 0, 3)], "the latest first"
