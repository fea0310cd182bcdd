"""`raysys tune --dry-run`: the plan, and nothing written."""

import json
from pathlib import Path

import pytest
from edge_runs import trial, write_run

from raysys.cli.app import main
from raysys.space.load import load_space, to_json

COMMAND = ["tune", "--space", "digits", "--dry-run", "--trials", "7", "--queries-per-trial", "1000"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYSYS_STORAGE", raising=False)
    return tmp_path


def test_dry_run_shows_the_plan_and_writes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(COMMAND) == 0
    shown = capsys.readouterr().out
    assert "u00004" in shown and "u00005" not in shown
    assert "at most 7,000 queries, and the held-out images once" in shown
    assert "time not known: no finished trial of ideal with mlp on digits, hard labels, in" in shown
    assert "raysys trial" in shown
    assert list(home.iterdir()) == []


def test_earlier_trials_tell_the_time(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earlier = [trial(0, queries=500, seconds=10), trial(1, queries=1000, seconds=12)]
    write_run(home / "runs" / "earlier", earlier, space=to_json(load_space("digits")))
    assert main([*COMMAND, "--concurrent", "1"]) == 0
    shown = capsys.readouterr().out
    assert "at most 00:20 a trial, 02:20 in all with 1 at once, if no query takes longer" in shown
    assert "in the slowest of 2 earlier trials" in shown


def test_packs_are_more_trials_at_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earlier = [trial(0, queries=1000, seconds=10)]
    write_run(home / "runs" / "earlier", earlier, space=to_json(load_space("digits")))
    assert main([*COMMAND, "--pack", "7"]) == 0
    shown = capsys.readouterr().out
    assert "00:10 a trial, 00:10 in all with" in shown
    assert "each pack of 7 trials holds 1 CPU and 0 GPU" in shown
    assert main([*COMMAND, "--pack", "auto"]) == 0
    assert "each trial holds 1 CPU and 0 GPU" in capsys.readouterr().out


def test_a_rate_limit_tells_the_least_time(capsys: pytest.CaptureFixture[str]) -> None:
    server = ["--teacher-url", "http://127.0.0.1:1", "-s", "teacher.http.queries_per_second=10"]
    assert main([*COMMAND, *server, "-s", "held_out=200"]) == 0
    assert "asked 10 queries a second: 12:00 for all of them" in capsys.readouterr().out


def test_json_is_one_object(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["-s", "price=0.01", "-s", "held_out=200", "--max-cost", "50", "--name", "mine", "--json"]
    assert main([*COMMAND, *flags]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["run"] == str(home / "runs" / "mine")
    assert [one["uid"] for one in plan["configs"]] == [f"u0000{number}" for number in range(5)]
    assert plan["configs"][0]["values"]["query_budget"] <= 1000
    assert plan["worst_case"] == {"queries": 5000, "held_out": 200, "cost": 50.0, "seconds": None}


def test_a_machine_that_is_too_small_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--cpus-per-trial", "5000", "--json"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["worst_case"]["queries"] == 7000
    assert "warning: no trial can start: each needs 5000 CPU" in streams.err
