"""ls, show, front, audit: looking at runs from a terminal."""

import json

import pytest
from edge_runs import RUNS, book, build, trial, write_run

from raysys.cli.app import main
from raysys.fronts.objectives import ACCURACY, QUERIES, SECONDS
from raysys.records import TrialStatus
from raysys.store.manifest import RunState


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("what", ["show", "front"])
def test_every_edge_case_run_can_be_looked_at(what, name, tmp_path, capsys):
    layout = build(tmp_path, name)
    assert run(capsys, what, layout.root)[0] == 0
    code, out, _ = run(capsys, what, layout.root, "--json")
    assert code == 0
    assert json.loads(out)["run"] == str(layout.root)


def test_ls_lists_runs_and_problems(tmp_path, capsys):
    for name in RUNS:
        build(tmp_path, name)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    code, out, _ = run(capsys, "ls", tmp_path)
    assert code == 0
    assert all(name in out for name in [*RUNS, "broken", "cannot read"])
    listed = json.loads(run(capsys, "ls", tmp_path, "--json")[1])["runs"]
    assert {row["name"] for row in listed} == {*RUNS, "broken"}


def test_ls_of_an_empty_storage_says_how_to_start(tmp_path, capsys):
    code, out, err = run(capsys, "ls", tmp_path)
    assert (code, out) == (0, "")
    assert "raysys tune --space" in err


@pytest.mark.parametrize("what", ["show", "front", "audit"])
def test_a_path_that_is_no_run_is_refused(what, tmp_path, capsys):
    code, out, err = run(capsys, what, tmp_path)
    assert (code, out) == (2, "")
    assert f"{tmp_path} is no run" in err


def test_front_marks_the_knee(tmp_path, capsys):
    out = run(capsys, "front", build(tmp_path, "three").root)[1]
    (knee,) = (line for line in out.splitlines() if "knee" in line)
    assert knee.split()[:3] == ["u00001", "1000", "95.00%"]


def test_front_within_limits(tmp_path, capsys):
    root = build(tmp_path, "three").root
    out = run(capsys, "front", root, "--max-queries", 1200, "--min-accuracy", 0.9, "--json")[1]
    assert [point["uid"] for point in json.loads(out)["points"]] == ["u00001"]
    assert "none of the 3 points" in run(capsys, "front", root, "--max-queries", 10)[2]


def test_the_best_within_limits_and_the_cheapest_are_marked(tmp_path, capsys):
    root = build(tmp_path, "many").root
    told = json.loads(run(capsys, "front", root, "--max-queries", 1000, "--min-accuracy", 0.55, "--json")[1])
    points = told["points"]
    top = max(points, key=lambda point: point["val_accuracy"])
    assert [point for point in points if point["best"]] == [top]
    cheap = min(points, key=lambda point: point["queries"])
    assert [point for point in points if point["cheapest"]] == [cheap]
    lines = run(capsys, "front", root, "--max-queries", 1000)[1].splitlines()
    (best,) = (line for line in lines if "best" in line)
    assert best.split()[0] == top["uid"]
    whole = json.loads(run(capsys, "front", root, "--json")[1])["points"]
    assert not any(point["best"] or point["cheapest"] for point in whole)


def test_seeds_are_shown_with_their_spread_and_only_then(tmp_path, capsys):
    head, first, second, *_ = run(capsys, "front", build(tmp_path, "seeds").root)[1].splitlines()
    assert head.split() == ["uid", "seeds", "queries", "val", "test"]
    assert first.split()[:9] == ["u00000", "2", "500", "85.00%", "±", "7.07", "75.00%", "±", "7.07"]
    assert second.split()[:6] == ["u00001", "2", "1000", "91.00%", "±", "2.83"]
    out = run(capsys, "front", build(tmp_path, "three").root)[1]
    assert "seeds" not in out and "±" not in out


def test_what_a_limit_of_the_space_leaves_out_is_said(tmp_path, capsys):
    space = {"name": "digits", "limits": {"val_accuracy": 0.9}}
    _, out, err = run(capsys, "front", write_run(tmp_path / "run", RUNS["three"][0], space=space).root)
    assert "2 points" in out
    assert "1 points beyond the space's limits are left out: val_accuracy 0.9" in err


def test_the_history_tells_where_the_front_grew(tmp_path, capsys):
    records = [
        trial(0, queries=1000, val_accuracy=0.8),
        trial(1, TrialStatus.STOPPED, queries=50),
        trial(2, queries=1500, val_accuracy=0.7),
        trial(3, queries=100, val_accuracy=0.9),
    ]
    root = write_run(tmp_path / "run", records).root
    told = json.loads(run(capsys, "front", root, "--history", "--json")[1])
    assert [(step["ended"], step["queries"]) for step in told["history"]] == [(1, 1000), (4, 2650)]
    final = json.loads(run(capsys, "front", root, "--json")[1])
    assert told["history"][-1]["hypervolume"] == pytest.approx(final["hypervolume"])
    assert (told["ended"], told["queries"], told["reference"]) == (4, 2650, final["reference"])
    lines = run(capsys, "front", root, "--history")[1].splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["1", "1,000"], ["4", "2,650"]]
    assert lines[-1] == "4 trials ended, 2,650 queries, evaluation not included"
    assert "no trial has ended" in run(capsys, "front", build(tmp_path, "none").root, "--history")[2]


@pytest.mark.parametrize("other", [["--max-queries", 10], ["--min-accuracy", 0.5], ["--kind", "anytime"]])
def test_a_history_is_of_the_whole_final_front(other, tmp_path, capsys):
    code, out, err = run(capsys, "front", build(tmp_path, "three").root, "--history", *other)
    assert (code, out) == (2, "")
    assert "--history is of the whole final front" in err


def test_a_front_over_reports_exists_before_any_trial_finished(tmp_path, capsys):
    root = build(tmp_path, "failed-only").root
    assert "--kind anytime" in run(capsys, "front", root)[2]
    assert json.loads(run(capsys, "front", root, "--kind", "anytime", "--json")[1])["points"]


def test_show_groups_failures_by_their_first_line(tmp_path, capsys):
    out = run(capsys, "show", build(tmp_path, "failed-only").root)[1]
    assert "fault: 3 of 3 trials that ended failed: ValueError: boom $x$" in out
    assert "3,000 charged, the cap is 100,000 queries" in out


def test_show_tells_where_the_time_of_all_trials_went(tmp_path, capsys):
    layout = build(tmp_path, "three")
    assert "60% generate, 40% train" in run(capsys, "show", layout.root)[1]
    told = json.loads(run(capsys, "show", layout.root, "--json")[1])["seconds_by"]
    assert told == pytest.approx({"generate": 1.8, "train": 1.2})


def test_show_tells_what_is_wrong_and_what_to_do(tmp_path, capsys):
    layout = build(tmp_path, "one")
    lines = run(capsys, "show", layout.root)[1].splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("fault"))
    assert lines[at].endswith(
        "disagree in 2 places, first: u00000 reports 500 queries, but was charged only 0."
    )
    assert lines[at + 1] == f"  raysys audit {layout.root}"
    told = json.loads(run(capsys, "show", layout.root, "--json")[1])["health"]
    assert told[0]["severity"] == "fault" and told[0]["command"] == f"raysys audit {layout.root}"
    book(layout, evaluation=0)
    lines = run(capsys, "show", layout.root)[1].splitlines()
    assert "healthy: no fault, no warning" in lines
    assert not any(line.startswith(("fault", "warning")) for line in lines)


def test_watching_a_run_that_has_ended_shows_it_once(tmp_path, capsys):
    out = run(capsys, "show", build(tmp_path, "three").root, "--watch", "--json")[1]
    assert len(out.splitlines()) == 1


def test_audit_without_charges_to_compare_is_clean(tmp_path, capsys):
    layout = write_run(tmp_path / "run", [trial(0, queries=0)], state=RunState.RUNNING)
    code, out, _ = run(capsys, "audit", layout.root, "--json")
    assert code == 0
    assert json.loads(out)["mismatches"] == []


def test_audit_ends_with_3_when_a_report_has_no_charge(tmp_path, capsys):
    code, out, err = run(capsys, "audit", build(tmp_path, "one").root, "--json")
    assert code == 3
    assert json.loads(out)["mismatches"][0] == "u00000 reports 500 queries, but was charged only 0"
    assert "u00000 reports 500 queries" in err


def test_a_third_objective_has_its_column(tmp_path, capsys):
    objectives = (ACCURACY, QUERIES, SECONDS)
    records = [trial(0, seconds=4.5), trial(1, val_accuracy=0.7, seconds=1.2)]
    layout = write_run(tmp_path, records, objectives=objectives)
    lines = run(capsys, "front", layout.root)[1].splitlines()
    assert lines[0].split()[:4] == ["uid", "queries", "seconds", "val"]
    assert [line.split()[:3] for line in lines[1:3]] == [["u00000", "500", "4.5"], ["u00001", "1000", "1.2"]]


def test_a_front_that_a_limit_empties_is_no_missing_front(tmp_path, capsys):
    space = {"name": "digits", "limits": {"val_accuracy": 0.99}}
    layout = write_run(tmp_path, [trial(0), trial(1)], space=space)
    assert "every finished trial is beyond a limit" in run(capsys, "front", layout.root)[2]
