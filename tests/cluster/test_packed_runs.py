"""Runs whose trials share processes: the same charges and students, whatever ends on the way."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from crash_runs import Workshop, storm
from shell_runs import PATIENCE_S, Shell, charged_by_trials, trials, wait_for_charges

from raysys.store.reader import read_run
from raysys.teacher.journal import read_accounts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = ["--smoke", "--sampler", "random", "--seed", "7", "-s", "final_passes=60", "--scheduler", "none"]
PACKED = ["--pack", "2", "--concurrent", "4"]
SEED = 20261122
TOLERANCE = 0.05
"""Of a student's accuracy: what is computed together rounds its last bits elsewhere."""


def charges(run: Path) -> dict[str, tuple[int, int]]:
    accounts = read_accounts(run / "ledger").values()
    return {account.uid: (account.charged, account.executed) for account in accounts}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("shell"))


@pytest.fixture(scope="module")
def calm(shell: Shell) -> Path:
    """A run without packs that nothing happened to."""
    shell.run("tune", "--space", "digits", *SMALL, "--name", "calm")
    return shell.run_path("calm")


def the_same_came_out(shell: Shell, run: Path, calm: Path) -> None:
    for packed, alone in zip(trials(run), trials(calm), strict=True):
        assert (packed.config, packed.status, packed.queries) == (alone.config, alone.status, alone.queries)
        assert packed.val_accuracy == pytest.approx(alone.val_accuracy, abs=TOLERANCE)
    assert charges(run) == charges(calm)
    shell.run("audit", str(run))


def test_a_packed_run_pays_and_learns_what_one_without_packs_does(shell: Shell, calm: Path) -> None:
    out, err = shell.run("tune", "--space", "digits", *SMALL, *PACKED, "--name", "packed", "--json")
    found: dict[str, Any] = json.loads(out)
    assert found["trials"]["finished"] == 4
    assert "Error" not in err
    the_same_came_out(shell, shell.run_path("packed"), calm)


def test_a_run_changes_between_packs_and_none_when_it_is_resumed(shell: Shell, calm: Path) -> None:
    run = shell.run_path("mixed")
    stages = [["--space", "digits", *SMALL, *PACKED, "--name", "mixed"], ["--resume", str(run)]]
    for arguments in stages:
        before = charged_by_trials(run) if run.exists() else 0
        process = shell.start("tune", *arguments)
        wait_for_charges(process, run, before + 100)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 143, err
        assert f"raysys tune --resume {run}" in err
        assert read_run(run).manifest.state == "interrupted"
    shell.run("tune", "--resume", str(run), *PACKED)
    the_same_came_out(shell, run, calm)


def test_every_query_is_charged_once_whatever_of_a_packed_run_is_killed(tmp_path: Path) -> None:
    with Workshop(tmp_path, pack=2) as workshop:
        outcome = storm(workshop, SEED, {"pack": 3, "worker": 2, "teacher": 1, "driver": 1}, trials=12)
    assert not outcome.faults, f"kill schedule {SEED}: {'; '.join(outcome.faults)}"
