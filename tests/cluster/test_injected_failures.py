"""A run whose trials refuse, break, die, diverge or dawdle ends with the right states and no process left."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from crash_runs import family
from made_up import install
from optuna.trial import TrialState

from raysys.cli.app import main
from raysys.records import TrialRecord, TrialStatus
from raysys.search.study_searcher import StudySearcher
from raysys.space.load import from_json
from raysys.store.manifest import RunState
from raysys.store.reader import Snapshot, read_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BUDGET = 7
HELD_OUT = 40
MOODS = 2 * ["well", "refuses", "well", "diverges", "dies", "well", "breaks", "well", "dawdles", "well"]
"""Of each trial: one in five fails."""
TRIALS = len(MOODS)
SPACE: dict[str, Any] = {
    "name": "moods",
    "dataset": "digits",
    "teacher": {"architecture": "mlp", "recipe": {"epochs": 1}},
    "student": "mlp",
    "method": "moody",
    "held_out": HELD_OUT,
    "options": {"query_budget": BUDGET},
    "parameters": {
        "mood": {"type": "categorical", "choices": sorted(set(MOODS))},
        "a": {"type": "float", "low": 0.0, "high": 1.0},
    },
    "points": [{"values": {"mood": mood, "a": at / TRIALS}} for at, mood in enumerate(MOODS)],
    "trials": TRIALS,
}


def tune(folder: Path, *options: str) -> tuple[int, str, str, list[psutil.Process]]:
    """Exit code, stdout and stderr of a run, and those of its processes that are left."""
    (folder / "moods.yaml").write_text(json.dumps(SPACE))
    driver = subprocess.Popen(
        [sys.executable, "-m", "raysys", "tune", "--concurrent", "2", *options],
        cwd=folder,
        env=install(folder / "package"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started: dict[int, psutil.Process] = {}
    while True:
        started |= {process.pid: process for process in family(driver.pid)}
        try:
            out, err = driver.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
        _, left = psutil.wait_procs(started.values(), timeout=30)
        return driver.returncode, out, err, left


def of_mood(records: dict[str, TrialRecord], mood: str) -> list[TrialRecord]:
    return [record for record in records.values() if record.config.options["mood"] == mood]


def test_each_trial_ends_in_its_own_way_and_nothing_is_left(tmp_path: Path) -> None:
    code, _, err, left = tune(tmp_path, "--space", "moods.yaml", "--name", "run", "--seed", "1")
    assert code == 3, err
    assert re.search(r"ended early: (15|20)% of the trials failed, more than 10%", err)
    assert "trial(s) failed: RuntimeError: refused to start" in err
    assert left == [], "no process outlives its run"
    run = tmp_path / "runs" / "run"
    snapshot = read_run(run)
    assert snapshot.manifest.state is RunState.FAILED
    assert snapshot.counts()[TrialStatus.RUNNING] == 0
    assert main(["audit", str(run)]) == 0

    code, out, err, left = tune(tmp_path, "--resume", "runs/run", "--max-failures", "50%", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["state"], told["trials"]) == (
        "finished",
        {"finished": 16, "stopped": 0, "failed": 4, "running": 0, "pending": 0, "interrupted": 0},
    )
    assert left == []
    snapshot = read_run(run)
    records = {record.uid: record for record in snapshot.records()}
    assert [records[uid].config.options["mood"] for uid in sorted(records)] == MOODS
    for mood, status, queries, error in (
        ("well", TrialStatus.FINISHED, BUDGET, ""),
        ("dawdles", TrialStatus.FINISHED, BUDGET, ""),
        ("dies", TrialStatus.FINISHED, BUDGET, ""),
        ("diverges", TrialStatus.FINISHED, BUDGET, "diverged: the student's outputs are NaN"),
        ("refuses", TrialStatus.FAILED, 0, "RuntimeError: refused to start"),
        ("breaks", TrialStatus.FAILED, BUDGET, "ValueError: broke after a report"),
    ):
        found = {(one.status, one.queries, one.error.partition("\n")[0]) for one in of_mood(records, mood)}
        assert found == {(status, queries, error)}, mood
    assert all(one.attempt > 0 for one in of_mood(records, "dies")), "a second attempt went on"
    assert all(one.val_accuracy != one.val_accuracy for one in of_mood(records, "diverges")), "NaN"
    charged = HELD_OUT + 18 * BUDGET
    assert told["queries"] == {"charged": charged, "executed": charged}
    sound = {uid for uid, one in records.items() if one.status is TrialStatus.FINISHED and not one.error}
    assert told["front"] and {point["uid"] for point in told["front"]} <= sound
    assert main(["audit", str(run)]) == 0
    study = replayed(snapshot)
    assert not study.has_unfinished
    states = Counter(trial.state for trial in study.study.trials)
    assert states == {TrialState.COMPLETE: 14, TrialState.FAIL: 6}, "of its trials none is left running"
    assert study.ask().number == TRIALS


def replayed(snapshot: Snapshot) -> StudySearcher:
    """The searcher of a run, as a resume rebuilds it."""
    study = StudySearcher(from_json(snapshot.manifest.space), "tpe", snapshot.manifest.seed)
    study.replay(snapshot.records())
    return study
