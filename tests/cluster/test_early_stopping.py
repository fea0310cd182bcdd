"""Early stopping in runs: when it is on, what a resume knows, what a replay estimates, what is charged."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from edge_runs import config, manifest, report

from raysys.cli.app import main
from raysys.cluster.early_stopping import is_further_seed, plan_stopping, replayed, with_milestones
from raysys.cluster.what_if import what_if
from raysys.errors import UsageError
from raysys.fronts.hypervolume import Reference
from raysys.records import TrialRecord, TrialStatus
from raysys.space.load import apply_overrides, load_space
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import write_manifest
from raysys.store.reader import Snapshot, read_run
from raysys.store.writer import RunWriter
from raysys.teacher.journal import read_accounts

FINISHED, STOPPED, INTERRUPTED = TrialStatus.FINISHED, TrialStatus.STOPPED, TrialStatus.INTERRUPTED


def space(**changes: Any) -> Space:
    return apply_overrides(load_space("digits"), changes)


def test_it_is_on_where_budgets_differ_enough() -> None:
    assert plan_stopping(space(), None) == ("query-asha", (312, 625, 1250, 2500))
    assert plan_stopping(space(), "none") == ("none", ())
    fixed = space(query_budget=2000)
    assert plan_stopping(fixed, None) == ("none", ())
    nothing = fixed.model_copy(update={"parameters": {}})
    assert plan_stopping(nothing, None) == ("none", ())
    with pytest.raises(UsageError, match="budgets are 2,000 to 2,000"):
        plan_stopping(fixed, "query-asha")
    with pytest.raises(UsageError, match="nothing is searched"):
        plan_stopping(nothing, "query-asha")


def test_a_trial_reports_at_milestones_from_a_quarter_of_its_budget_to_half() -> None:
    run = manifest(milestones=(100, 200, 400))
    assert with_milestones(config(0, query_budget=400), run).milestones == (100, 200)
    assert with_milestones(config(0, query_budget=799), run).milestones == (200,)
    assert with_milestones(config(0, query_budget=150), manifest()).milestones == ()


def stored(
    root: Path,
    trials: Sequence[tuple[TrialStatus, list[tuple[int, float]]]],
    at: bool,
    same: tuple[int, int] = (0, 0),
    **changes: Any,
) -> Snapshot:
    """A run of these trials with budgets of 400, each with its curve; `at` milestones, or on the way.

    Trial `same[0]` is another seed of trial `same[1]`.
    """
    write_manifest(RunLayout(root), manifest(reference=Reference(0.1, 400), **changes))
    with RunWriter(RunLayout(root)) as writer:
        for number, (status, curve) in enumerate(trials):
            own = config(number, query_budget=400 if number else 100)
            if number == same[0]:
                own = replace(own, options=config(same[1], query_budget=400 if same[1] else 100).options)
            for step, (queries, accuracy) in enumerate(curve):
                milestone = at and queries in (100, 200)
                writer.report(
                    report(number, step, queries=queries, val_accuracy=accuracy, milestone=milestone)
                )
            queries, accuracy = curve[-1]
            writer.trial(TrialRecord(own.uid, 1, status, own, queries=queries, val_accuracy=accuracy))
    return read_run(root)


def test_a_resume_knows_the_rungs_and_judges_nobody_twice(tmp_path: Path) -> None:
    trials = [
        (FINISHED, [(90, 0.6)]),
        (INTERRUPTED, [(100, 0.3), (130, 0.35)]),
        (INTERRUPTED, [(100, 0.8), (200, 0.85)]),
        (STOPPED, [(100, 0.5)]),
    ]
    charged = {"u00000": 90, "u00001": 150, "u00002": 250, "u00003": 100}
    asha = replayed(stored(tmp_path, trials, at=True, milestones=(100, 200)), charged)
    passed = asha.report("u00001", 400, 100, 0.3, True)
    assert passed is not None and passed.reason == "goes on at 100 queries, as before"
    new = asha.report("u00009", 400, 100, 0.55, True)
    assert new is not None and new.reason == "goes on at 100 queries: 55.0% there, 3rd of 5"
    new = asha.report("u00008", 400, 200, 0.7, True)
    assert new is not None and not new.goes_on


def test_a_trial_that_was_cut_off_at_a_milestone_is_judged_there_as_it_would_have_been(
    tmp_path: Path,
) -> None:
    trials = [(FINISHED, [(90, 0.6)]), (INTERRUPTED, [(60, 0.3), (100, 0.3)]), (FINISHED, [(100, 0.5)])]
    run = stored(tmp_path, trials, at=True, milestones=(100, 200))
    verdicts = {}
    for charged in (100, 120):  # the report was the last that is known of it; then, perhaps, it asked on
        asha = replayed(run, {"u00000": 90, "u00001": charged, "u00002": 100})
        verdicts[charged] = asha.report("u00001", 400, 100, 0.3, True)
    assert verdicts[100] is not None and verdicts[100].reason.startswith("stopped at 100 queries: 30.0%")
    assert verdicts[120] is not None and verdicts[120].reason == "goes on at 100 queries, as before"


CURVES = [
    (FINISHED, [(50, 0.2), (100, 0.3)]),
    (FINISHED, [(80, 0.6), (150, 0.7), (400, 0.9)]),
    (FINISHED, [(90, 0.5), (210, 0.99), (380, 0.95)]),
    (TrialStatus.FAILED, [(90, 0.1), (180, 0.1)]),
    (FINISHED, [(100, 0.55), (190, 0.8), (400, 0.85)]),
]
"""By the second milestone, 200: 70 %, (50 % at the first: 2nd of 3), and 80 %."""


def test_a_replay_says_what_would_have_been_saved_and_lost(tmp_path: Path) -> None:
    found = what_if(stored(tmp_path, CURVES, at=False))
    assert found.milestones == (100, 200)
    assert {uid: why.reason for uid, why in found.stopped.items()} == {
        "u00002": "stopped at 200 queries: 50.0% there, 2nd of 2; only the best goes on",
        "u00003": "stopped at 100 queries: 10.0% there, 4th of 4; the best 2 go on",
    }
    assert (found.queries, found.saved) == (100 + 400 + 380 + 180 + 400, 180 + 80)
    assert found.share == pytest.approx(260 / 1460)
    assert found.lost == ("u00002",)
    assert [len(front.members) for front in (found.before, found.after)] == [2, 2]
    assert found.before.hypervolume > found.after.hypervolume > 0


def test_further_seeds_of_a_config_with_a_student_are_not_stopped(tmp_path: Path) -> None:
    """Else its mean would be over the lucky ones."""
    first, lagging = config(0, query_budget=400), [(100, 0.1), (400, 0.2)]
    records = [TrialRecord("u00000", 1, FINISHED, first)]
    again = replace(first, uid="u00001", seed=7)
    assert is_further_seed(again, records)
    assert not is_further_seed(again, [replace(records[0], status=STOPPED)])
    assert not is_further_seed(config(1, query_budget=400), records)
    curves = [(FINISHED, [(100, 0.5), (400, 0.9)]), (FINISHED, [(100, 0.8), (400, 0.9)]), (FINISHED, lagging)]
    found = what_if(stored(tmp_path / "other", curves, at=True, milestones=(100, 200)))
    assert "u00002" in found.stopped
    found = what_if(stored(tmp_path / "same", curves, at=True, same=(2, 1), milestones=(100, 200)))
    assert not found.stopped


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(tmp_path, CURVES, at=False)
    assert main(["front", str(tmp_path), "--what-if", "query-asha"]) == 0
    out, err = capsys.readouterr()
    assert "query-asha would have stopped 2 of 5 trials: 260 of 1,460 queries saved (18%)" in out
    assert "points lost: u00002" in out
    assert "an estimate" in err
    assert main(["front", str(tmp_path), "--what-if", "query-asha", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["queries"] == {"charged": 1460, "saved": 260, "share": pytest.approx(260 / 1460)}
    assert [row["uid"] for row in told["stopped"]] == ["u00002", "u00003"]
    assert (told["before"]["points"], told["lost"]) == (2, ["u00002"])


def test_a_run_that_was_stopped_early_itself_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = [(FINISHED, [(100, 0.6)]), (STOPPED, [(100, 0.5)]), (FINISHED, [(100, 0.9), (400, 0.95)])]
    run = stored(tmp_path, trials, at=True, scheduler="query-asha", milestones=(100, 200))
    assert run.unspent == 300, "one that was stopped at 100 of its 400"
    assert main(["front", str(tmp_path), "--what-if", "query-asha"]) == 0
    out, err = capsys.readouterr()
    assert "0 of 600 queries saved" in out
    assert "the run was made with query-asha" in err


@pytest.mark.parametrize("trials", [[], CURVES[:1], [(FINISHED, [(400, 0.9)])] * 3])
def test_a_run_in_which_nothing_can_be_judged_is_refused(
    tmp_path: Path, trials: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path, trials, at=False)
    assert main(["front", str(tmp_path), "--what-if", "query-asha"]) == 2
    assert f"no trial of {tmp_path} can be judged" in capsys.readouterr().err


RACE = {
    "name": "race",
    "dataset": "digits",
    "teacher": {"architecture": "mlp", "recipe": {"epochs": 10, "lr": 3.0e-3, "optimizer": "adamw"}},
    "student": "mlp",
    "method": "noise",
    "options": {"rounds": 3, "passes": 20, "final_passes": 40},
    "held_out": 200,
    "parameters": {
        "query_budget": {"type": "int", "low": 100, "high": 400},
        "balance": {"type": "categorical", "choices": [True, False]},
        "lr": {"type": "categorical", "choices": [0.05, 1.0e-6, 2.0e-6]},
    },
    "points": [
        {"values": {"query_budget": 400, "balance": balance, "lr": lr}}
        for balance, lr in ((True, 0.05), (True, 1.0e-6), (True, 2.0e-6), (False, 0.05))
    ],
    "trials": 4,
}
"""Students that learn, and others that cannot."""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("pack", ["1", "2"])
def test_a_stopped_trial_pays_for_its_milestone_and_no_more(
    pack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RAYSYS_STORAGE", raising=False)
    Path("race.yaml").write_text(yaml.safe_dump(RACE))
    tune = ["tune", "--concurrent", "1", "--pack", pack, "--progress", "none"]
    assert main([*tune, "--space", "race.yaml", "--name", "a", "--sampler", "random"]) == 0
    out, err = capsys.readouterr()
    assert "goes on" not in err, "decisions go to the run's log"
    run = read_run("runs/a")
    assert (run.manifest.scheduler, run.manifest.milestones) == ("query-asha", (100, 200))
    books = read_accounts(Path("runs/a/ledger"))
    rows = {record.uid: record for record in run.records()}
    assert rows["u00000"].status is FINISHED
    stopped = {uid: row for uid, row in rows.items() if row.status is STOPPED}
    assert {"u00001", "u00002"} <= stopped.keys() <= {"u00001", "u00002", "u00003"}
    log = Path("runs/a/raysys.log").read_text()
    for uid, row in stopped.items():
        assert row.queries in (100, 200)
        assert books[uid].charged == books[uid].executed == row.queries
        last = run.reports.filter(run.reports.column("uid").to_numpy() == uid).to_pylist()[-1]
        assert (last["milestone"], last["queries"], last["val_accuracy"]) == (
            True,
            row.queries,
            row.val_accuracy,
        )
        assert row.error.startswith(f"stopped at {row.queries} queries: ")
        assert f"{uid} {row.error}" in log
        assert not Path("runs/a/students", uid).exists() and not Path("runs/a/checkpoints", uid).exists()
    assert "u00000 goes on at 100 queries: " in log
    saved = sum(400 - row.queries for row in stopped.values())
    assert f"{len(stopped)} trial(s) were stopped, {saved:,} queries of their budgets were not spent" in out
    assert main(["audit", "runs/a"]) == 0
    assert main(["trial", "--from", "runs/a:u00000", "--name", "again", "--json"]) == 0
    told = capsys.readouterr().out.strip().splitlines()[-1]
    assert json.loads(told)["weights_sha256"] == rows["u00000"].weights_sha256
    assert read_run("runs/again").reports["milestone"].to_pylist().count(True) == 2
    assert main([*tune, "--resume", "runs/a", "--extend", "1"]) == 0
    later = Path("runs/a/raysys.log").read_text().removeprefix(log)
    assert not any(uid in later for uid in rows), "nobody is judged twice"
