import json
import math
import sys
from dataclasses import replace
from typing import Any

import pytest
from edge_runs import manifest, trial

from raysys.cluster.progress import ProgressPrinter, Status, amount, duration, run_status
from raysys.records import TrialStatus

GOAL = manifest().goal
FINISHED, STOPPED, FAILED, RUNNING, PENDING = (
    TrialStatus.FINISHED,
    TrialStatus.STOPPED,
    TrialStatus.FAILED,
    TrialStatus.RUNNING,
    TrialStatus.PENDING,
)
MIDDLE = Status(
    trials=16,
    counts={FINISHED: 5, STOPPED: 2, FAILED: 1, RUNNING: 2, PENDING: 6},
    queries=12_345,
    budget=40_000,
    capped=False,
    front=3,
    hypervolume=0.61849,
    best=0.9317,
    elapsed_s=90.0,
)


def test_the_line_of_a_run_in_the_middle() -> None:
    # 8 of 16 ended and 2 half done in 90 s: 7 of 9 parts are left.
    assert MIDDLE.line("digits-1") == (
        "digits-1  5/16 done  2 stopped  1 failed  2 running"
        " | queries 12.3k of at most 40.0k (31%) | front 3  HV 0.618  best 93.2% | 01:30, ~01:10 left"
    )


def test_the_line_of_a_run_that_has_just_begun() -> None:
    status = run_status({}, 16, 900, 0, None, GOAL, 0.4, 0)
    assert (
        status.line("digits-1")
        == "digits-1  0/16 done | queries 900 of at most 0 | front 0  HV 0.000 | 00:00"
    )


def test_a_cap_is_named_as_one() -> None:
    status = run_status({}, 16, 900, 40_000, 3_000_000, GOAL, 0.4, 0)
    assert "queries 900 of 3.00M (0%)" in status.line("x")


def test_trials_that_were_kept_say_nothing_about_the_speed() -> None:
    resumed = replace(MIDDLE, counts={FINISHED: 10, RUNNING: 0}, kept=8, elapsed_s=60.0)
    assert resumed.left_s == 60.0 * 6 / 2
    assert replace(resumed, counts={FINISHED: 8, RUNNING: 2}).left_s is None


def test_a_status_counts_what_the_trials_say() -> None:
    records = [
        trial(0, queries=500, val_accuracy=0.8),
        trial(1, queries=1000, val_accuracy=0.9),
        trial(2, queries=1500, val_accuracy=0.85),  # dominated
        trial(3, RUNNING, queries=200, val_accuracy=0.99),  # not finished: not on the front
        trial(4, FAILED, queries=100, val_accuracy=None),
    ]
    status = run_status({r.uid: r for r in records}, 16, 900, 40_000, None, GOAL, 10.0, 0)
    assert status.queries == 900 + 500 + 1000 + 1500 + 200 + 100
    assert (status.front, status.best) == (2, 0.9)
    assert status.counts == {FINISHED: 3, RUNNING: 1, FAILED: 1}
    assert 0 < status.hypervolume < 1


def test_the_same_as_json() -> None:
    said = MIDDLE.as_json("digits-1")
    assert json.loads(json.dumps(said)) == said
    counts = {"pending": 6, "running": 2, "finished": 5, "stopped": 2, "failed": 1, "interrupted": 0}
    assert said["trials"] == counts
    assert (said["run"], said["queries"], said["budget"]) == ("digits-1", 12_345, 40_000)
    assert (said["front"], said["elapsed_s"], said["left_s"]) == (3, 90.0, 70.0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("mode", ["plain", "json", "auto"])
def test_without_a_terminal_a_line_comes_every_30_seconds(
    mode: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    printer = ProgressPrinter(mode, "digits-1", clock)
    assert printer.due, "the first one comes at once"
    for passed, due in ((0, False), (29.9, False), (0.1, True), (1, True)):
        clock.now += passed
        if passed == 0:
            printer.show(MIDDLE)
        assert printer.due == due
    printer.show(MIDDLE)
    printer.close()
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    if mode == "json":
        assert [json.loads(line) for line in lines] == [MIDDLE.as_json("digits-1")] * 2
    else:
        assert lines == [MIDDLE.line("digits-1")] * 2


def test_none_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    printer = ProgressPrinter("none", "digits-1", Clock())
    assert not printer.due
    printer.show(MIDDLE)
    printer.close()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_live_line_that_goes_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    clock = Clock()
    printer = ProgressPrinter("auto", "digits-1", clock)
    printer.show(MIDDLE)
    assert not printer.due
    clock.now += 0.5
    assert printer.due
    printer.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert MIDDLE.line("digits-1") in err
    assert err.endswith("\x1b[2K"), "the line is erased"


@pytest.mark.parametrize(
    ("images", "text"), [(0, "0"), (999, "999"), (1000, "1.0k"), (12_345, "12.3k"), (1_200_000, "1.20M")]
)
def test_amounts_are_short(images: int, text: str) -> None:
    assert amount(images) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00"), (61.9, "01:01"), (3600, "1:00:00"), (36_061, "10:01:01")]
)
def test_durations_are_clock_times(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_trial_without_a_number_does_not_break_the_line() -> None:
    records = {"u00000": trial(0, val_accuracy=math.nan)}
    assert "front 0" in run_status(records, 1, 0, 10, None, GOAL, 1.0, 0).line("x")
