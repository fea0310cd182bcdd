"""A run whose trials refuse, break, die, diverge or dawdle ends with the right states and no process left."""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from crash_runs import family
from made_up import install
from optuna.trial import TrialState
from shell_runs import Shell

from raysys.records import TrialStatus
from raysys.search.study_searcher import StudySearcher
from raysys.space.load import from_json
from raysys.store.reader import Snapshot, read_run
from raysys.teacher.journal import read_accounts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL, LARGE = 7, 28
HELD_OUT = 40
MOODS = ["well", "refuses", "dies", "diverges", "well", "breaks", "well", "dawdles", "well", "diverges"]
"""Of each trial: one in five fails."""
LAGS = "u00009"
"""It alone has a budget with a milestone, at which its outputs are NaN: nobody is worse."""
SPACE: dict[str, Any] = {
    "name": "moods",
    "dataset": "digits",
    "teacher": {"architecture": "mlp", "recipe": {"epochs": 1}},
    "student": "mlp",
    "method": "moody",
    "held_out": HELD_OUT,
    "parameters": {
        "query_budget": {"type": "categorical", "choices": [SMALL, LARGE]},
        "mood": {"type": "categorical", "choices": sorted(set(MOODS))},
        "a": {"type": "float", "low": 0.0, "high": 1.0},
    },
    "points": [
        {"values": {"query_budget": LARGE if f"u{at:05d}" == LAGS else SMALL, "mood": mood, "a": at / 10}}
        for at, mood in enumerate(MOODS)
    ],
    "trials": len(MOODS),
}


def tune(folder: Path, *options: str) -> tuple[dict[str, Any], str, list[psutil.Process]]:
    """What a run tells, as JSON and on stderr, and those of its processes that are left."""
    (folder / "moods.yaml").write_text(json.dumps(SPACE))
    driver = Shell(folder, install(folder / "package")).start("tune", "--json", *options)
    started: dict[int, psutil.Process] = {}
    while True:
        started |= {process.pid: process for process in family(driver.pid)}
        try:
            out, err = driver.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
        assert driver.returncode == 0, err
        _, left = psutil.wait_procs(started.values(), timeout=30)
        return json.loads(out), err, left


@pytest.mark.parametrize("pack", [1, 2])
def test_each_trial_ends_in_its_own_way_and_nothing_is_left(tmp_path: Path, pack: int) -> None:
    options = ["--concurrent", "2", "--pack", str(pack), "--scheduler", "query-asha", "--max-failures", "20%"]
    told, err, left = tune(tmp_path, "--space", "moods.yaml", "--name", "run", *options)
    assert (told["state"], told["trials"]) == (
        "finished",
        {"finished": 7, "stopped": 1, "failed": 2, "running": 0, "pending": 0, "interrupted": 0},
    )
    assert left == [], "no process outlives its run"
    assert "1 trial(s) failed: RuntimeError: refused to start" in err
    assert "1 trial(s) failed: ValueError: broke after a report" in err

    snapshot = read_run(tmp_path / "runs" / "run")
    records = {record.uid: record for record in snapshot.records()}
    found: dict[str, set[Any]] = {mood: set() for mood in MOODS}
    for uid in sorted(records.keys() - {LAGS}):
        one = records[uid]
        found[str(one.config.options["mood"])].add((one.status, one.queries, one.error.partition("\n")[0]))
    assert found == {
        "well": {(TrialStatus.FINISHED, SMALL, "")},
        "dawdles": {(TrialStatus.FINISHED, SMALL, "")},
        "dies": {(TrialStatus.FINISHED, SMALL, "")},
        "diverges": {(TrialStatus.FINISHED, SMALL, "diverged: the student's outputs are NaN")},
        "refuses": {(TrialStatus.FAILED, 0, "RuntimeError: refused to start")},
        "breaks": {(TrialStatus.FAILED, SMALL, "ValueError: broke after a report")},
    }
    assert records["u00002"].attempt > 0, "a second attempt of the one that died went on"
    assert records[LAGS].status is TrialStatus.STOPPED
    assert records[LAGS].error.startswith("stopped at 7 queries: no score there, ")
    accounts = read_accounts(tmp_path / "runs" / "run" / "ledger").values()
    charged = {account.uid: account.charged for account in accounts if account.charged}
    reported = {uid: one.queries for uid, one in records.items() if one.queries}
    assert charged == {"evaluation": HELD_OUT, **reported}
    assert told["queries"] == {"charged": sum(charged.values()), "executed": sum(charged.values())}
    Shell(tmp_path).run("audit", "runs/run")
    sound = {uid for uid, one in records.items() if one.status is TrialStatus.FINISHED and not one.error}
    front = json.loads(Shell(tmp_path).run("front", "runs/run", "--json")[0])
    for points in (front["points"], told["front"]):
        assert points and {point["uid"] for point in points} <= sound
    study = replayed(snapshot)
    assert not study.has_unfinished
    states = Counter(trial.state for trial in study.study.trials)
    assert states == {TrialState.COMPLETE: 6, TrialState.FAIL: 3, TrialState.PRUNED: 1}, "none left running"
    assert study.ask().number == len(MOODS)


def replayed(snapshot: Snapshot) -> StudySearcher:
    """The searcher of a run, as a resume rebuilds it."""
    study = StudySearcher(from_json(snapshot.manifest.space), "tpe", snapshot.manifest.seed)
    study.replay(snapshot.records())
    return study
