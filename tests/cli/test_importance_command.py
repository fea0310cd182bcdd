import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edge_runs import build, write_run
from search_runs import SPACE, ended, finished

from raysys.cli.app import main
from raysys.records import TrialRecord, TrialStatus
from raysys.space.load import to_json


def write(path: Path, records: list[TrialRecord]) -> Path:
    write_run(path, records, space=to_json(SPACE))
    return path


def test_it_says_what_decides_and_where_the_front_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write(tmp_path / "run", [*finished(40), ended(40, TrialStatus.RUNNING)])
    assert main(["importance", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["parameter", "val_accuracy", "queries"]
    assert lines[1].split()[0] == "passes"
    (budget,) = (line for line in lines if line.startswith("query_budget"))
    assert "100 .. 4000 log" in budget
    assert lines[-1] == "queries: the values of the best 5 finished trials against those of all 40"


def test_json_holds_prior_and_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The front of two: u00010 has less accuracy for fewer queries."""
    best = [
        ended(10, TrialStatus.FINISHED, queries=100, val_accuracy=0.9),
        ended(11, TrialStatus.FINISHED, queries=400, val_accuracy=0.99),
    ]
    other = {**best[1].config.options, "mixup": 0.75}  # else both would be one point
    best[1] = replace(best[1], config=replace(best[1].config, options=other))
    run = write(tmp_path / "run", [*best, *finished(10, lambda _: 0.2)])  # those of the front ended first
    assert main(["importance", str(run), "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["objectives"]["queries"] == {"trials": 12, "best": 5, "why": ""}
    one = {parameter["name"]: parameter for parameter in told["parameters"]}
    assert one["passes"]["prior"] == {"type": "int", "low": 0, "high": 20, "step": 5, "log": False}
    assert one["passes"]["front"] == {"low": 5, "p5": 5, "median": 5, "p95": 5, "high": 5}
    assert one["passes"]["advice"] == "keep"
    assert one["passes"]["why"] == "2 points on the front have it, 8 are needed"
    assert one["optimizer"]["front"] == {"counts": [2, 0]}
    assert one["lr_adamw"]["front"] is None
    assert one["lr_sgd"]["trials"] + one["lr_adamw"]["trials"] == one["mixup"]["trials"] == 12


def test_a_run_that_has_just_begun_is_told_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write(tmp_path / "run", finished(2))
    assert main(["importance", str(run)]) == 0
    assert "queries: needs 10 finished trials, there are 2" in capsys.readouterr().out


def test_a_run_whose_space_cannot_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["importance", str(build(tmp_path, "three").root)]) == 2
    assert "manifest" in capsys.readouterr().err
