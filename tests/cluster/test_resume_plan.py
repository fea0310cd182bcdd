"""What a resume says before it does anything."""

import json
from typing import Any

import pytest
from edge_runs import manifest, trial

from raysys.cluster.code import changed_code, versions
from raysys.cluster.resume_plan import GoesOn, ResumePlan, lost_reports
from raysys.records import TrialStatus
from raysys.source import source_sha256


def plan(**changes: Any) -> ResumePlan:
    values: dict[str, Any] = {
        "run": "runs/x",
        "kept": {"finished": 9, "stopped": 2, "failed": 1},
        "goes_on": [GoesOn("u00012", 14, 600, 0, 1000), GoesOn("u00013", 0, 0, 200, 500)],
        "again": {"u00004": "its student is missing or damaged"},
        "to_start": 5,
        "charged": 12345,
        "executed": 12400,
        "price": 0.001,
        "caps": {"cost": 20.0},
        "search": 15,
        "earlier": 8,
        "milestones": 31,
        "fallbacks": ["run.json is missing: the one before it is used"],
        "changed": ["packages: torch 2.13 -> 2.14"],
    }
    return ResumePlan(**{**values, **changes})


def test_a_plan_is_told_in_a_few_lines() -> None:
    assert plan().lines() == [
        "resuming: trials: 12 kept (9 finished, 2 stopped, 1 failed), 2 to go on, 1 to do again, 5 to start",
        "  u00012 goes on after report 14, at 600 of 1,000 queries",
        "  u00013 goes on from its start, at 0 of 500 queries; the ledger answers the next 200",
        "  u00004 is done again, nothing is paid: its student is missing or damaged",
        "  spent so far: 12,345 queries charged, 12,400 sent, 12.40 USD; the run's cap: 20 USD",
        "  the search is rebuilt from 15 trials and 8 of earlier runs, early stopping from 31 reports at"
        " milestones",
        "  note: run.json is missing: the one before it is used",
        "  changed: packages: torch 2.13 -> 2.14",
    ]


def test_many_trials_are_counted_and_not_listed() -> None:
    many = [GoesOn(f"u{number:05d}", 1, 10, 0, 50) for number in range(30)]
    lines = plan(goes_on=many, again={}, price=0.0, caps={}).lines()
    assert len(lines) < 16
    assert "  ... and 22 more go on" in lines
    assert "  spent so far: 12,345 queries charged, 12,400 sent" in lines


def test_the_json_object_has_all_of_it() -> None:
    data = json.loads(json.dumps(plan().as_dict()))
    assert data["goes_on"][0] == {
        "uid": "u00012", "reports": 14, "queries": 600, "answered": 0, "budget": 1000,
    }  # fmt: skip
    assert (data["to_start"], data["cost"]) == (5, pytest.approx(12.4))


@pytest.mark.parametrize(
    "status, steps, told",
    [
        (TrialStatus.FINISHED, [(0, 100), (1, 500)], ""),
        (TrialStatus.FINISHED, [(1, 500)], "some of its reports are lost"),
        (TrialStatus.STOPPED, [(0, 100), (2, 500)], "some of its reports are lost"),
        (TrialStatus.STOPPED, [(0, 100)], "its last reports are lost"),
        (TrialStatus.FINISHED, [], "its last reports are lost"),
        (TrialStatus.FAILED, [(0, 100)], "its last reports are lost"),
    ],
)
def test_reports_that_are_lost_are_seen(status: TrialStatus, steps: list[tuple[int, int]], told: str) -> None:
    assert lost_reports(trial(0, status), steps) == told


def test_other_code_and_packages_are_told_and_the_same_are_not() -> None:
    here = manifest(code=source_sha256(), versions=versions())
    assert changed_code(here, source_sha256(), versions()) == []
    assert changed_code(manifest(), source_sha256(), versions()) == []  # an older raysys did not say
    began = manifest(code="ab" * 32, versions={"torch": "1.0", "numpy": versions()["numpy"]})
    code, packages = changed_code(began, "cd" * 32, versions())
    assert code.startswith("raysys' code is cdcdcdcdcdcd, the run began with abababababab")
    assert packages == f"packages: torch 1.0 -> {versions()['torch']}"
