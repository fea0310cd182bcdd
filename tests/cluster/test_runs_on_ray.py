"""Whole runs as a user starts them: real Ray, real signals, real kills, in processes of their own."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from shell_runs import PATIENCE_S, Shell, charged_by_trials, wait_for_charges

from raysys.records import TrialRecord, TrialStatus
from raysys.store.reader import read_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = ["--smoke", "--sampler", "random", "--seed", "7", "-s", "final_passes=60", "--scheduler", "none"]
"""Four trials of a second or two each; the order of what runs side by side decides nothing."""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("shell"))


@pytest.fixture(scope="module")
def undisturbed(shell: Shell) -> dict[str, Any]:
    """What `tune --json` printed for a run that nothing happened to."""
    out, _ = shell.run("tune", "--space", "digits", *SMALL, "--name", "calm", "--json")
    found: dict[str, Any] = json.loads(out)
    return found


def trials(shell: Shell, name: str) -> dict[str, TrialRecord]:
    return {record.uid: record for record in read_run(shell.run_path(name)).records()}


def curve(run: Path) -> list[dict[str, Any]]:
    columns = ["uid", "step", "queries", "val_accuracy"]
    rows = read_run(run).reports.select(columns).to_pylist()
    return sorted(rows, key=lambda row: (row["uid"], row["step"]))


def test_a_run_ends_with_a_front_and_a_clean_audit(shell: Shell, undisturbed: dict[str, Any]) -> None:
    assert undisturbed["trials"] == {
        "finished": 4, "stopped": 0, "failed": 0, "running": 0, "pending": 0, "interrupted": 0
    }  # fmt: skip
    front = undisturbed["front"]
    assert front and all(point["test_accuracy"] is not None for point in front)
    audit = json.loads(shell.run("audit", "runs/calm", "--json")[0])
    assert audit["mismatches"] == []
    assert audit["charged"] == undisturbed["queries"]["charged"] == undisturbed["queries"]["executed"]
    assert audit["charged"] == 797 + sum(trial["reported"] for trial in audit["trials"])
    saved = {path.name for path in (shell.run_path("calm") / "students").iterdir()}
    assert saved == {point["uid"] for point in front}
    assert not list((shell.run_path("calm") / "checkpoints").iterdir())
    tested = {uid for uid, record in trials(shell, "calm").items() if record.test_accuracy is not None}
    assert tested == saved


@pytest.mark.usefixtures("undisturbed")
def test_one_trial_in_this_process_gives_the_same_student(shell: Shell) -> None:
    for uid, record in list(trials(shell, "calm").items())[:2]:
        out, _ = shell.run("trial", "--from", f"runs/calm:{uid}", "--name", f"again-{uid}", "--json")
        again = json.loads(out)
        assert again["weights_sha256"] == record.weights_sha256
        assert again["queries"] == record.queries
        assert again["seed"] == record.config.seed
        assert charged_by_trials(shell.run_path(f"again-{uid}")) == record.queries
        shell.run("audit", f"runs/again-{uid}")


@pytest.mark.usefixtures("undisturbed")
def test_a_run_that_is_stopped_and_killed_ends_like_an_undisturbed_one(shell: Shell) -> None:
    run = shell.run_path("storm")
    process = shell.start("tune", "--space", "digits", *SMALL, "--name", "storm")
    wait_for_charges(process, run, 100)
    os.killpg(process.pid, signal.SIGTERM)  # as batch systems do: Ray gets it as well
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143
    assert f"raysys tune --resume {run}" in err
    assert read_run(run).manifest.state == "interrupted"

    process = shell.start("tune", "--resume", "runs/storm")
    wait_for_charges(process, run, charged_by_trials(run) + 200)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGKILL

    _, err = shell.run("tune", "--resume", "runs/storm", "--json")
    assert "resuming:" in err
    calm, storm = trials(shell, "calm"), trials(shell, "storm")
    assert {uid: record.weights_sha256 for uid, record in storm.items()} == {
        uid: record.weights_sha256 for uid, record in calm.items()
    }
    assert all(record.status is TrialStatus.FINISHED for record in storm.values())
    assert charged_by_trials(run) == sum(record.queries for record in storm.values())
    shell.run("audit", "runs/storm")
    assert curve(run) == curve(shell.run_path("calm"))


@pytest.mark.usefixtures("undisturbed")
def test_a_finished_run_takes_more_trials_also_when_it_is_killed_meanwhile(shell: Shell) -> None:
    before, run = trials(shell, "calm"), shell.run_path("calm")
    process = shell.start("tune", "--resume", "runs/calm", "--extend", "1")
    wait_for_charges(process, run, charged_by_trials(run) + 1)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert read_run(run).manifest.state == "running"
    out, _ = shell.run("tune", "--resume", "runs/calm", "--json")
    assert json.loads(out)["trials"]["finished"] == 5
    after = trials(shell, "calm")
    assert {uid: record.weights_sha256 for uid, record in after.items() if uid in before} == {
        uid: record.weights_sha256 for uid, record in before.items()
    }
    shell.run("audit", "runs/calm")


def test_a_cap_is_never_passed(shell: Shell) -> None:
    out, err = shell.run(
        "tune", "--space", "digits", *SMALL, "--name", "capped", "--max-queries", "1500", "--json", code=4
    )
    spent = json.loads(out)["queries"]["charged"]
    assert 797 < spent <= 1500
    assert "cap of 1,500 queries" in err
    shell.run("audit", "runs/capped")
    _, err = shell.run("tune", "--resume", "runs/capped", code=4)
    assert json.loads(shell.run("audit", "runs/capped", "--json")[0])["charged"] == spent


def test_a_failing_trial_is_named_and_the_exit_code_says_so(shell: Shell) -> None:
    # A file where the trials' folders should be: every trial fails at its first step.
    process = shell.start("tune", "--space", "digits", *SMALL, "--name", "broken")
    run = shell.run_path("broken")
    deadline = time.monotonic() + PATIENCE_S
    while not run.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    (run / "checkpoints").write_text("in the way")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (1, 3), err
    assert "checkpoints" in err
    assert "Traceback" not in err + out


def test_a_signal_ends_the_training_of_the_teacher_at_once(shell: Shell) -> None:
    forever = ["-s", f"teacher.recipe.epochs={10**6}"]
    process = shell.start("tune", "--space", "digits", *SMALL, *forever, "--name", "early")
    assert process.stderr
    while "training the teacher" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143
    assert f"raysys tune --resume {shell.run_path('early')}" in err
    assert read_run(shell.run_path("early")).manifest.state == "interrupted"
