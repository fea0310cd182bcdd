"""The few numbers of a run, and the time that it still takes."""

import math
from pathlib import Path

import pytest
from edge_runs import RUNS, build, trial, write_run

from raysys.records import TrialStatus
from raysys.store.headline import headline, pace
from raysys.store.points import run_front
from raysys.store.reader import read_run


@pytest.mark.parametrize("name", RUNS)
def test_it_has_the_numbers_of_the_front(name: str, tmp_path: Path) -> None:
    run = read_run(build(tmp_path, name))
    front, told = run_front(run), headline(run)
    assert (told.front, told.hypervolume) == (len(front.members), front.hypervolume)
    assert told.best == (max(front.score) if len(front.score) else None)


def test_what_the_last_tenth_gained(tmp_path: Path) -> None:
    records = [trial(n, queries=1000, val_accuracy=0.5) for n in range(19)]
    told = headline(read_run(write_run(tmp_path / "run", [*records, trial(19, queries=100)])))
    before = headline(read_run(write_run(tmp_path / "before", records)))
    assert (told.recent, told.ended) == (2, 20)
    assert told.gained == pytest.approx(told.hypervolume - before.hypervolume)
    assert told.gained > 0
    assert headline(read_run(write_run(tmp_path / "first", records[:1]))).gained is None


def test_limits_are_of_the_front_and_its_best(tmp_path: Path) -> None:
    run = read_run(build(tmp_path, "three"))
    assert (headline(run).front, headline(run).best) == (3, 0.96)
    within = headline(run, max_queries=1200)
    assert (within.front, within.best) == (2, 0.95)
    assert within.hypervolume == headline(run).hypervolume
    assert headline(run, min_score=0.99).best is None


def test_hours_and_failures(tmp_path: Path) -> None:
    records = [trial(0, seconds=1800.0), trial(1, TrialStatus.FAILED, seconds=5400.0)]
    told = headline(read_run(write_run(tmp_path / "run", records)))
    assert (told.hours, told.failed, told.ended) == (2.0, 1, 2)


def running(root: Path, **changes: object) -> Path:
    """Two trials ended after 60 s and 1,000 queries each, two run."""
    ended = [trial(n, queries=1000, seconds=60.0) for n in range(2)]
    others = [trial(n, TrialStatus.RUNNING, queries=0) for n in range(2, 4)]
    return write_run(root / "run", [*ended, *others], **{"trials": 11, **changes}).root


def test_the_time_left_is_that_of_the_trials_so_far(tmp_path: Path) -> None:
    left = pace(read_run(running(tmp_path)))
    assert left is not None
    assert (left.open, left.trials, left.seconds, left.at_once, left.left_s) == (9, 8, 60, 2, 240)


def test_a_cap_may_come_first(tmp_path: Path) -> None:
    left = pace(read_run(running(tmp_path, caps={"queries": 5000})))
    assert left is not None
    assert (left.open, left.trials) == (4, 3)


def test_no_time_is_told_where_nothing_is_known(tmp_path: Path) -> None:
    assert pace(read_run(build(tmp_path, "none"))) is None
    assert pace(read_run(build(tmp_path, "three"))) is None
    assert pace(read_run(running(tmp_path, trials=3))) is None


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_a_time_that_is_not_known_is_neither_fast_nor_the_pace(unknown: float | None, tmp_path: Path) -> None:
    records = [
        trial(0, seconds=60.0),
        trial(1, seconds=unknown),
        trial(2, TrialStatus.RUNNING, seconds=unknown),
    ]
    run = read_run(write_run(tmp_path / "run", records, trials=9))
    left = pace(run)
    assert left is not None and left.seconds == 60
    assert [headline(run, max_seconds=limit).front for limit in (None, 1e9)] == [2, 1]
