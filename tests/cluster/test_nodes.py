"""Runs on clusters whose nodes are taken away without a word, join later, or are gone for good."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ray_clusters import RayCluster
from shell_runs import PATIENCE_S, Shell, wait_for_charges

from raysys.errors import CorruptRunError
from raysys.records import TrialStatus
from raysys.store.reader import read_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPACE = ["--space", "digits", "--smoke", "--sampler", "random", "--scheduler", "none", "--progress", "none"]
LONG = ["-s", "query_budget=600", "-s", "batch_size=20", "-s", "warmup_share=0", "-s", "epochs=30"]
"""A trial of 30 requests, each with its report: long enough to be killed in."""


def until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def running(run: Path) -> int:
    try:
        return read_run(run).counts()[TrialStatus.RUNNING]
    except CorruptRunError:  # there is none yet
        return 0


def check(shell: Shell, run: Path, trials: int) -> None:
    """Every trial once and finished, and the ledger agrees with their reports."""
    records = read_run(run).records()
    assert sorted(record.uid for record in records) == [f"u{number:05d}" for number in range(trials)]
    assert {record.status for record in records} == {TrialStatus.FINISHED}
    audit = json.loads(shell.run("audit", str(run), "--json")[0])
    assert audit["mismatches"] == []
    assert audit["charged"] == audit["executed"]


def done(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, err + out
    return err


def test_a_node_that_is_taken_away_takes_no_trial_with_it(tmp_path: Path) -> None:
    with RayCluster(2) as cluster:
        shell, run = Shell(tmp_path, cluster.environment), tmp_path / "runs" / "run"
        where = ["--address", cluster.address, "--name", "run"]
        process = shell.start("tune", *SPACE, *LONG, "--trials", "3", *where)
        until(process, lambda: running(run) == 2)
        wait_for_charges(process, run, 100)
        cluster.kill()
        done(process)
        check(shell, run, 3)
        assert any(record.attempt for record in read_run(run).records()), "a second attempt went on elsewhere"


@pytest.mark.cluster
def test_a_run_waits_for_nodes_and_takes_those_that_join(tmp_path: Path) -> None:
    with RayCluster(1) as cluster:
        shell, run = Shell(tmp_path, cluster.environment), tmp_path / "runs" / "run"
        where = ["--address", cluster.address, "--name", "run"]
        process = shell.start("tune", *SPACE, *LONG, "--trials", "5", *where)
        wait_for_charges(process, run, 100)
        assert running(run) == 1
        log = run / "raysys.log"
        for _ in range(4):  # more often than a trial may fail without progress
            cluster.kill()
            until(process, lambda: " 0 trials fit on 1 nodes" in log.read_text())
            cluster.add()
            before = attempts(run)
            until(process, lambda: attempts(run) > before)
        cluster.add()
        cluster.add()
        until(process, lambda: running(run) == 3)
        cluster.kill()
        done(process)
        check(shell, run, 5)


def attempts(run: Path) -> int:
    return len(re.findall(rb'"open":"u', (run / "ledger" / "journal.jsonl").read_bytes()))


@pytest.mark.cluster
def test_a_run_goes_on_from_another_folder_on_another_cluster(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there" / "deep"
    with RayCluster(2) as cluster:
        here.mkdir()
        shell = Shell(here, cluster.environment)
        where = ["--address", cluster.address, "--name", "run"]
        process = shell.start("tune", *SPACE, *LONG, "--trials", "4", *where)
        wait_for_charges(process, here / "runs" / "run", 300)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    there.mkdir(parents=True)
    (here / "runs" / "run").rename(there / "moved")
    (here / "runs").rmdir()
    with RayCluster(3) as cluster:
        shell = Shell(there, cluster.environment)
        done(shell.start("tune", "--resume", "moved", "--address", cluster.address, "--progress", "none"))
        check(shell, there / "moved", 4)
        assert not here.joinpath("runs").exists(), "nothing goes to the old place"


TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}


@pytest.mark.cluster
def test_the_doctor_looks_at_every_node_and_a_wrong_token_is_told(tmp_path: Path) -> None:
    with RayCluster(2, TOKEN) as cluster:
        shell = Shell(tmp_path, cluster.environment)
        told = json.loads(shell.run("doctor", "--address", cluster.address, "--json")[0])
        nodes = [check for check in told["checks"] if check["name"].startswith("node ")]
        assert [node["status"] for node in nodes] == ["ok"] * 3
        assert all("storage ok" in node["detail"] and "source" in node["detail"] for node in nodes)
        assert sorted(node["detail"][0] for node in nodes) == ["0", "1", "1"]
        assert not list(tmp_path.glob(".raysys-doctor*"))
        stranger = Shell(tmp_path, {**TOKEN, "RAY_AUTH_TOKEN": "1" * 64})
        for command in (["doctor"], ["tune", *SPACE, "--name", "run"]):
            _, err = stranger.run(*command, "--address", cluster.address, code=6)
            assert "does not accept this machine's token" in err
            assert "Traceback" not in err


@pytest.mark.cluster
def test_what_no_node_can_hold_is_refused_or_waited_for(tmp_path: Path) -> None:
    with RayCluster(2) as cluster:
        shell = Shell(tmp_path, cluster.environment)
        where = ["--address", cluster.address, "--cpus-per-trial", "2"]
        _, err = shell.run("tune", *SPACE, *where, "--name", "large", code=6)
        assert "each needs 2 CPU and 0 GPU of one node" in err, "1 + 1 CPU"
        assert "--concurrent N the run waits" in err
        process = shell.start("tune", *SPACE, *where, "--concurrent", "2", "--name", "waits")
        run = tmp_path / "runs" / "waits"
        until(process, lambda: run.exists() and "0 trials fit on 3 nodes" in (run / "raysys.log").read_text())
        process.send_signal(signal.SIGINT)
        done(process, 130)
