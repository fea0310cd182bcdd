"""Damaged runs that are resumed as a user does it, on Ray: one of each kind of what may be lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from shell_runs import PATIENCE_S, Shell, wait_for_charges

from raysys.records import TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.reader import read_run
from raysys.teacher.journal import read_accounts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = ["--smoke", "--sampler", "random", "--seed", "7", "--scheduler", "none", "--concurrent", "1"]
ENDED = ["-s", "final_passes=60"]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("shell"))


@pytest.fixture(scope="module")
def cut(shell: Shell) -> Path:
    """A run that was killed in its third trial, and `calm`, which went on from there undamaged."""
    run = shell.run_path("cut")
    process = shell.start("tune", "--space", "digits", *SMALL, *ENDED, "--name", "cut")
    wait_for_charges(process, run, 1)
    while not list((run / "checkpoints" / "u00002").glob("state-*.pt")):
        wait_for_charges(process, run, 1)
    everybody = [*psutil.Process(process.pid).children(recursive=True), process]
    for one in everybody:
        one.kill()
    process.communicate(timeout=PATIENCE_S)
    psutil.wait_procs(everybody[:-1], timeout=PATIENCE_S)  # a worker may outlive its driver, and write
    shutil.copytree(run, shell.run_path("calm"))
    _, err = resumed(shell, "calm")
    assert "2 kept (2 finished), 1 to go on, 0 to do again, 1 to start" in err
    return run


def resumed(shell: Shell, name: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """What a resumed run came to, and what it said."""
    _, err = shell.run(
        "tune", "--resume", f"runs/{name}", "--concurrent", "1", "--progress", "none", code=code
    )
    return ends(shell.run_path(name)) if not code else {}, err


def ends(run: Path) -> dict[str, Any]:
    records = sorted(read_run(run).records(), key=lambda record: record.uid)
    assert all(record.status is TrialStatus.FINISHED for record in records)
    students = {path.name for path in (run / "students").iterdir()}
    accounts = read_accounts(run / "ledger")
    return {
        "trials": [(one.uid, one.queries, one.weights_sha256) for one in records],
        "tested": [(one.uid, one.test_accuracy) for one in records if one.uid in students],
        "charged": {uid: (one.charged, one.executed) for uid, one in accounts.items()},
    }


def flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def lose_the_manifest(run: Path) -> None:
    (run / "run.json").unlink()


def damage_the_newest_state(run: Path) -> None:
    states = (run / "checkpoints" / "u00002").glob("state-*.pt")
    flip(max(states, key=lambda path: int(path.stem.partition("-")[2])))


def lose_a_report(run: Path) -> None:
    min((run / "reports").iterdir()).unlink()


def damage_a_student(run: Path) -> None:
    for student in (run / "students").iterdir():
        flip(student / "weights.safetensors")


MENDED = {
    "run.json is missing: the one before it is used": lose_the_manifest,
    ".pt is damaged: ": damage_the_newest_state,
    "u00000 is done again, nothing is paid: ": lose_a_report,  # one part may hold them all
    "is done again, nothing is paid: its student's weights are not those": damage_a_student,
}


@pytest.mark.parametrize("told", MENDED)
def test_what_was_lost_is_said_and_made_good(shell: Shell, cut: Path, told: str) -> None:
    damage: Callable[[Path], None] = MENDED[told]
    name = damage.__name__
    shutil.copytree(cut, shell.run_path(name))
    damage(shell.run_path(name))
    out, err = shell.run("tune", "--resume", f"runs/{name}", "--dry-run", "--json")
    plan = json.loads(out)
    ended, err = resumed(shell, name)
    assert told in err
    assert ended == ends(shell.run_path("calm"))
    assert ended["charged"].keys() >= {one["uid"] for one in plan["goes_on"]}
    shell.run("audit", f"runs/{name}")
    assert read_run(shell.run_path(name)).skipped == 0


def test_a_merged_part_that_is_damaged_takes_nothing_with_it(shell: Shell, cut: Path) -> None:
    calm = shell.run_path("calm")
    shutil.copytree(calm, shell.run_path("merged"))
    run = shell.run_path("merged")
    for part in RunLayout(run).trials, RunLayout(run).reports:
        flip(max(part.glob("part-00000001-*"), key=lambda path: path.name))
    assert read_run(run).records() == read_run(calm).records()
    _, err = shell.run("tune", "--resume", "runs/merged")
    assert "cannot be read: the parts that were merged into it are" in err
    assert ends(run) == ends(calm)


def test_a_ledger_that_was_cut_is_refused_and_nothing_is_written(shell: Shell, cut: Path) -> None:
    shutil.copytree(cut, shell.run_path("forgot"))
    journal = shell.run_path("forgot") / "ledger" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    before = {path: path.read_bytes() for path in shell.run_path("forgot").rglob("*.p*")}
    _, err = resumed(shell, "forgot", code=5)
    assert "its ledger and its trials do not fit together" in err
    assert {path: path.read_bytes() for path in shell.run_path("forgot").rglob("*.p*")} == before


def test_another_space_is_refused_key_by_key_and_the_same_goes_on(shell: Shell, cut: Path) -> None:
    same = ["--space", "digits", "--smoke", *ENDED, "--dry-run"]
    shell.run("tune", "--resume", "runs/cut", *same)
    _, err = shell.run("tune", "--resume", "runs/cut", *same, "-s", "g_steps=7", code=5)
    assert "the search space changed\n  changed: " in err and "g_steps [" in err
