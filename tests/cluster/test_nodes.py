"""Runs on clusters whose nodes are taken away without a word, join later, or are gone for good."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ray_clusters import RayCluster
from s3_server import BUCKET, KEYS, S3
from shell_runs import PATIENCE_S, Shell, charged_by_trials, wait_for_charges

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
        longer = ["-s", "query_budget=1200", "-s", "epochs=60"]
        process = shell.start("tune", *SPACE, *LONG, *longer, "--trials", "3", *where)
        wait_for_charges(process, run, 100)
        assert running(run) == 1
        log = run / "raysys.log"
        for lost in range(1, 4):  # more often than a trial may fail without progress
            cluster.kill()
            until(process, lambda: log.read_text().count(" 0 trials fit on 1 nodes") == lost)  # noqa: B023
            cluster.add()
            wait_for_charges(process, run, charged_by_trials(run) + 60)
        cluster.add()
        until(process, lambda: running(run) == 2)
        done(process)
        check(shell, run, 3)


@pytest.mark.cluster
def test_a_run_goes_on_from_another_folder_on_a_cluster_of_three_that_loses_two(tmp_path: Path) -> None:
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
        shell, run = Shell(there, cluster.environment), there / "moved"
        process = shell.start("tune", "--resume", "moved", "--address", cluster.address, "--progress", "none")
        for _ in range(2):
            wait_for_charges(process, run, charged_by_trials(run) + 60)
            cluster.kill()
        done(process)
        check(shell, run, 4)
        assert not here.joinpath("runs").exists(), "nothing goes to the old place"


GPU_PROGRAM = """
import sys
from pathlib import Path
import numpy as np, ray
from raysys.cluster.ray_cluster import Places
from raysys.oracle import Response
from raysys.records import Task
from raysys.space.schema import Resources
from raysys.teacher.actor import ActorOracle, start_teacher
from raysys.teacher.setup import TeacherSetup

class Network:
    lanes, max_rows = 1, 100
    def __init__(self, device): self.device = device
    def predict(self, images, meter):
        meter.sent(0, len(images))
        gpus = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        return Response(np.full(len(images), len(gpus) if self.device == "cuda" else 9))

class Source:
    def backend(self, device): return Network(device)

ray.init(address=sys.argv[1], log_to_driver=False)
places = Places(Resources(cpus_per_trial=1, gpus_per_trial=0.25), None, True, 1)
task = Task("digits", (1, 8, 8), 10, False)
setup = TeacherSetup(Source(), task, "hard", Path(sys.argv[2]), num_gpus=places.teacher_gpus)
oracle = ActorOracle(start_teacher(setup), "a", 10)
Trial = ray.remote(num_cpus=1, num_gpus=0.25)(type("Trial", (), {"ping": lambda self: 1}))
trials = [Trial.remote() for _ in range(places.count)]
running = sum(ray.get([trial.ping.remote() for trial in trials], timeout=200))
print(places.count, running, oracle.ask(np.zeros((2, 1, 8, 8), np.uint8), 0).labels.tolist())
"""


@pytest.mark.cluster
def test_trials_share_a_gpu_with_a_teacher_whose_ledger_stays_with_the_driver(tmp_path: Path) -> None:
    with RayCluster(0) as cluster:
        cluster.add(cpus=4, gpus=1)
        done = subprocess.run(
            [sys.executable, "-c", GPU_PROGRAM, cluster.address, str(tmp_path / "ledger")],
            env={**os.environ, **cluster.environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.stdout == "3 3 [1, 1]\n", done.stderr


TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}


@pytest.mark.cluster
def test_the_doctor_looks_at_every_node_and_a_wrong_token_is_told(tmp_path: Path, s3: S3) -> None:
    with RayCluster(2, {**TOKEN, **KEYS}) as cluster:
        driver = Shell(tmp_path, {**cluster.environment, **s3.environment})  # it alone knows the server
        where = ["--address", cluster.address, "--storage", f"s3://{BUCKET}/runs"]
        told = json.loads(driver.run("doctor", *where, "--json")[0])
        assert [check["detail"].count("storage ok") for check in told["checks"]].count(1) == 3
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
        log = tmp_path / "runs" / "waits" / "raysys.log"
        until(process, lambda: log.exists() and "0 trials fit on 3 nodes" in log.read_text())
        process.send_signal(signal.SIGINT)
        done(process, 130)
