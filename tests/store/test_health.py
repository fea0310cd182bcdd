"""What is found to be wrong with a run, and what is not."""

import math
import os
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from edge_runs import RUNS, SPACE, build, replicate, report, trial, write_run

from raysys.errors import CorruptRunError
from raysys.records import Account, TrialRecord, TrialStatus
from raysys.space.load import to_json
from raysys.store.driver import Driver
from raysys.store.health import Condition, Finding, condition, faults, health, life
from raysys.store.manifest import RunState
from raysys.store.reader import Snapshot, read_run, reports_of
from raysys.store.schema import reports_table

ALIVE = Driver(host=socket.gethostname(), pid=os.getpid(), token="t", beat=datetime(9999, 1, 1, tzinfo=UTC))
DEAD = Driver(host="elsewhere", pid=7, token="t", beat=datetime(2026, 11, 21, 9, 30, tzinfo=UTC))

FAILED = TrialStatus.FAILED


def made(root: Path, records: list[TrialRecord], **changes: Any) -> Snapshot:
    return read_run(write_run(root / "my run", records, **changes))


def accounts(run: Snapshot) -> dict[str, Account]:
    """What the ledger of an honest run holds."""
    return {one.config.uid: Account(one.config.uid, *3 * (one.queries,)) for one in run.records()}


def found(run: Snapshot, about: str, known: Any = None) -> list[Finding]:
    known = accounts(run) if known is None else known
    return [one for one in faults(run, known) if about in one.seen]


def test_a_healthy_run_has_nothing_but_notes(tmp_path: Path) -> None:
    run = made(tmp_path, [replicate(n, of=n % 3, val_accuracy=0.8 + n / 100) for n in range(6)], seeds=2)
    assert health(run, None, accounts(run)) == []


@pytest.mark.parametrize("name", RUNS)
def test_every_finding_of_every_edge_case_run_says_what_to_do(name: str, tmp_path: Path) -> None:
    for one in health(read_run(build(tmp_path, name)), None, {}):
        assert one.seen and one.advice
        assert one.command.startswith("raysys ") or not one.command


def test_the_worst_comes_first(tmp_path: Path) -> None:
    found = health(read_run(build(tmp_path, "failed-only")), None, {})
    severities = [one.severity for one in found]
    assert severities == sorted(severities, key=["fault", "warning", "note"].index)
    assert len(set(severities)) > 1


@pytest.mark.parametrize(
    ("state", "driver", "silent", "expected"),
    [
        (RunState.RUNNING, ALIVE, timedelta(minutes=9), Condition.RUNNING),
        (RunState.RUNNING, ALIVE, timedelta(minutes=11), Condition.STALLED),
        (RunState.RUNNING, DEAD, timedelta(0), Condition.DEAD),
        (RunState.RUNNING, None, timedelta(0), Condition.DEAD),
        (RunState.FINISHED, None, timedelta(days=9), Condition.FINISHED),
        (RunState.CAPPED, DEAD, timedelta(0), Condition.CAPPED),
    ],
)
def test_the_condition(state: Any, driver: Any, silent: timedelta, expected: Condition) -> None:
    now = datetime.now(UTC)
    assert condition(state, driver, now - silent, now) == expected


def test_a_dead_driver_is_named_with_the_command_that_goes_on(tmp_path: Path) -> None:
    run = made(tmp_path, [trial(0)], state=RunState.RUNNING)
    (one,) = life(run, DEAD)
    assert one.severity == "fault"
    assert "process 7 on elsewhere, last heard of at 2026-11-21 09:30:00 UTC" in one.seen
    assert one.command == f"raysys tune --resume '{run.path}'"
    assert life(run, ALIVE) == []


def test_a_stalled_run(tmp_path: Path) -> None:
    layout = write_run(tmp_path / "run", [trial(0)], state=RunState.RUNNING)
    hour_ago = datetime.now(UTC).timestamp() - 3600
    for path in [layout.run_json, *layout.trials.iterdir(), *layout.reports.iterdir()]:
        os.utime(path, (hour_ago, hour_ago))
    (one,) = life(read_run(layout), ALIVE)
    assert (one.severity, one.command) == ("warning", f"raysys stop {layout.location}")
    assert "Nothing was written since" in one.seen


@pytest.mark.parametrize(
    ("state", "severity", "ending"),
    [
        (RunState.INTERRUPTED, "warning", ""),
        (RunState.CAPPED, "note", " --max-queries 20000 --max-cost 25"),
        (RunState.FAILED, "fault", " --retry-failed"),
    ],
)
def test_how_a_run_ended(state: RunState, severity: str, ending: str, tmp_path: Path) -> None:
    records = [trial(0), trial(1, TrialStatus.INTERRUPTED)]
    caps = {"queries": 10000, "cost": 12.5}
    run = made(tmp_path, records, state=state, trials=5, caps=caps)
    (one,) = life(run, None)
    assert one.severity == severity
    assert one.command == f"raysys tune --resume '{run.path}'{ending}"
    assert state is RunState.FAILED or "4 of 5 trials have not ended" in one.seen


def test_failures_are_grouped_by_their_first_line(tmp_path: Path) -> None:
    errors = ["boom\n  at 3", "boom\n  at 4", "bang", "crash", "clash", "smash"]
    records = [trial(n, FAILED, val_accuracy=None, error=error) for n, error in enumerate(errors)]
    run = made(tmp_path, [*records, *(trial(n) for n in range(6, 12))])
    first, *_, last = found(run, "failed")
    assert (first.severity, first.seen) == ("fault", "2 of 12 trials that ended failed: boom")
    assert first.command.endswith("--retry-failed")
    assert last.seen == "2 more trials failed in 2 other ways."


def test_an_endless_error_is_cut(tmp_path: Path) -> None:
    run = made(tmp_path, [trial(0, FAILED, error="x" * 100_000)])
    (one,) = found(run, "failed")
    assert len(one.seen) < 600 and one.seen.endswith("xxx ...")


def test_few_failures_are_a_warning_and_none_is_nothing(tmp_path: Path) -> None:
    few = made(tmp_path / "few", [trial(0, FAILED, error="boom"), *(trial(n) for n in range(1, 11))])
    assert [one.severity for one in found(few, "failed")] == ["warning"]
    assert not found(made(tmp_path / "none", [trial(0)]), "failed")


def test_a_ledger_that_disagrees(tmp_path: Path) -> None:
    run = made(tmp_path, [trial(0), trial(1)])
    assert not found(run, "ledger") and not found(run, "Ledger")
    short = {**accounts(run), "u00001": Account("u00001", 900, 900, 1000)}
    (one,) = found(run, "Ledger and tables disagree", short)
    assert "u00001 reports 1000 queries, but was charged only 900" in one.seen
    assert (one.severity, one.command) == ("fault", f"raysys audit '{run.path}'")


def test_a_ledger_that_was_not_or_cannot_be_read(tmp_path: Path) -> None:
    run = made(tmp_path, [trial(0)])
    (one,) = [one for one in faults(run, None) if "ledger was not compared" in one.seen]
    assert (one.severity, one.command) == ("note", f"raysys audit '{run.path}'")
    damaged = CorruptRunError("the ledger is damaged", "at byte 7", "restore it")
    (one,) = found(run, "ledger", damaged)
    assert (one.severity, one.seen, one.advice) == ("fault", "the ledger is damaged: at byte 7", "restore it")


def test_nothing_finished_yet(tmp_path: Path) -> None:
    going = made(tmp_path / "going", [trial(0, TrialStatus.RUNNING)], state=RunState.RUNNING)
    ended = made(tmp_path / "ended", [trial(0, TrialStatus.STOPPED)])
    assert [one.severity for one in found(going, "No trial")] == ["note"]
    (one,) = found(ended, "No trial")
    assert (one.severity, one.command) == ("warning", f"raysys front '{ended.path}' --kind anytime")
    assert not found(made(tmp_path, [trial(0)]), "No trial")


def test_students_that_diverged_and_others_that_say_something(tmp_path: Path) -> None:
    run = made(
        tmp_path,
        [
            trial(0, val_accuracy=math.nan, error="diverged: its outputs are NaN"),
            trial(1, error="collapsed: one class"),
            trial(2),
        ],
    )
    (lost,) = found(run, "reached no number")
    assert lost.severity == "warning"
    assert "1 of 3 finished trials" in lost.seen and "u00000 diverged: its outputs are NaN" in lost.seen
    (noted,) = found(run, "have a note")
    assert noted.severity == "note" and "u00001 collapsed: one class" in noted.seen
    assert not found(made(tmp_path / "fine", [trial(0)]), "note")


def test_an_objective_that_never_changes(tmp_path: Path) -> None:
    same = made(tmp_path / "same", [trial(n, val_accuracy=0.1, queries=500) for n in range(3)])
    score, queries = found(same, "have the same")
    assert (score.severity, score.seen) == (
        "warning",
        "All 3 finished trials have the same val_accuracy: 0.1.",
    )
    assert (queries.severity, queries.command) == ("note", "raysys spaces digits")
    assert not found(made(tmp_path / "two", [trial(n, queries=500) for n in range(2)]), "have the same")
    assert not found(made(tmp_path / "three", [trial(n) for n in range(3)]), "have the same")


def test_a_front_of_single_seeds(tmp_path: Path) -> None:
    one_seed = made(tmp_path / "one", [trial(0), trial(1)])
    (one,) = found(one_seed, "one seed")
    assert "2 of 2" in one.seen and one.command == "raysys tune --space digits --seeds 3"
    records = [trial(0), trial(1), replicate(2, of=0)]
    some = {state: made(tmp_path / state, records, seeds=2, state=state) for state in RunState}
    assert "1 of 2" in found(some[RunState.FINISHED], "one seed")[0].seen
    assert "--extend" in found(some[RunState.FINISHED], "one seed")[0].command
    assert found(some[RunState.RUNNING], "one seed")[0].command == ""
    assert not found(made(tmp_path / "single", [trial(0)], sampler="none"), "one seed")


def parameter(kind: str, low: float, high: float, **values: Any) -> dict[str, Any]:
    return {"type": kind, "low": low, "high": high, **values}


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"lr": parameter("float", 0.001, 0.05, log=True)}, "lr"),
        ({"rate": parameter("float", 0.05, 1, option="lr")}, "rate"),
        ({"lr": parameter("float", 0.001, 0.06)}, None),
        ({"g_steps": parameter("int", 5, 30)}, None),
        ({"g_steps": parameter("int", 10, 13)}, None),  # one point at each value
        ({"lr": parameter("float", 0.001, 0.05, when={"schedule": ["cosine"]})}, "lr"),
        ({"lr": parameter("float", 0.001, 0.05, when={"schedule": "constant"})}, None),
        ({"schedule": {"type": "categorical", "choices": ["cosine"]}}, None),
        ({"lr": parameter("float", 1, 2)}, None),  # the trials are of another space
        ({"lr": {"low": 1}}, None),  # the space is not whole
    ],
)
def test_a_range_that_the_front_lies_at_the_end_of(parameters: Any, told: Any, tmp_path: Path) -> None:
    fixed = {} if "schedule" in parameters else {"schedule": "cosine"}
    space = {**to_json(SPACE), "name": "digits", "parameters": parameters, "options": fixed}
    run = made(tmp_path, [trial(n, val_accuracy=0.8 + n / 100) for n in range(8)], space=space)
    assert [one.seen.split()[3] for one in found(run, "half of the front lies")] == ([told] if told else [])


def test_points_at_chance_and_trials_that_lost_what_they_knew(tmp_path: Path) -> None:
    records = [trial(0, val_accuracy=0.1005), trial(1, val_accuracy=0.9)]
    reports = [report(0, 1, val_accuracy=0.656), report(1, 1, val_accuracy=0.92)]
    run = replace(made(tmp_path, records), reports=reports_table(reports))
    (chance,), (lost,) = found(run, "chance"), found(run, "far below")
    assert "1 of 2 front points are at chance" in chance.seen and "u00000" in chance.seen
    assert (
        "Of 2 trials on the front, 1 ended" in lost.seen
        and "u00000 had 65.6% and ended at 10.1%" in lost.seen
    )
    assert "final passes" in lost.advice
    assert not found(made(tmp_path / "other", [trial(1)]), "chance")


def test_damaged_parts(tmp_path: Path) -> None:
    layout = write_run(tmp_path / "run", [trial(0), trial(1)])
    assert not found(read_run(layout), "cannot be read")
    reports_of(layout).append(reports_table([report(1, 9)]), 2)
    (part,) = layout.reports.glob("part-00000002-*")
    part.write_bytes(b"garbage")
    (one,) = found(read_run(layout), "are lost")
    assert part.name in one.seen
    assert (one.severity, one.command) == ("fault", f"raysys tune --resume {layout.location}")
