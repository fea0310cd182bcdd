"""The Slurm script, with stand-ins for Slurm's own commands: two nodes, preemption, the second start."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from shell_runs import DIGITS, PATIENCE_S, Shell, charged_by_trials, wait_for_charges

from raysys.store.reader import read_run

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).resolve().parents[2] / "raysys" / "deploy" / "slurm.sh"
SPACE = {
    "name": "tiny",
    **DIGITS,
    "method": "noise",
    "options": {"rounds": 2, "passes": 1, "final_passes": 30},
    "held_out": 200,
    "parameters": {"query_budget": {"type": "int", "low": 50, "high": 400}},
    "trials": 20,
}
STANDS_IN = {
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',  # the other node is this machine
    "squeue": 'cat "$SLURM_SAYS/state"',
    "scontrol": 'echo "$@" >> "$SLURM_SAYS/told"',
}


class Slurm:
    """What Slurm does for one job of two nodes, which are both this machine, below a folder."""

    def __init__(self, folder: Path, job: int, temp: str) -> None:
        self._folder = folder
        self._temp = temp
        commands = folder / "commands"
        commands.mkdir()
        for name, text in STANDS_IN.items():
            (commands / name).write_text(f"#!/bin/bash\n{text}\n")
            (commands / name).chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TMPDIR": temp,  # short: Ray's sockets are below it
            "XDG_CACHE_HOME": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "SLURM_SAYS": str(folder),
            "SLURM_JOB_ID": str(job),
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_PER_TASK": "1",
            "SLURMD_NODENAME": "localhost",
        }
        self.run = folder / "runs" / "first"

    def start(self) -> subprocess.Popen[str]:
        """The job on its nodes, as often as it is queued."""
        return subprocess.Popen(
            [
                "bash",
                str(SCRIPT),
                str(self.run),
                "--space",
                str(self._folder / "tiny.yaml"),
                "--scheduler",
                "none",
            ],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def told(self, state: str) -> Path:
        """From now on squeue says this; where scontrol's arguments will be."""
        (self._folder / "state").write_text(state)
        return self._folder / "told"

    def left(self) -> list[psutil.Process]:
        """Processes of the job."""
        return [one for one in psutil.process_iter() if self._temp in _words(one)]


def _words(process: psutil.Process) -> str:
    try:
        return " ".join([*process.cmdline(), process.environ().get("TMPDIR", "")])
    except psutil.Error:
        return ""


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SPACE))
    temp = tempfile.mkdtemp(prefix="rs")
    slurm = Slurm(tmp_path, free_job(), temp)
    yield slurm
    for process in slurm.left():
        process.kill()
    shutil.rmtree(temp, ignore_errors=True)


def free_job() -> int:
    """A job whose port nobody uses."""
    for job in range(os.getpid(), os.getpid() + 100):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", 20000 + job % 10000)):
                return job
    raise AssertionError("no free port")


def gone(slurm: Slurm) -> bool:
    deadline = time.monotonic() + 30
    while slurm.left() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not slurm.left()


def test_a_job_that_slurm_takes_away_is_queued_again_and_goes_on(slurm: Slurm) -> None:
    told = slurm.told("RUNNING")
    job = slurm.start()
    wait_for_charges(job, slurm.run, 1)
    os.kill(job.pid, signal.SIGTERM)  # to the script alone, as --signal=B:TERM@120 says
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 143, said
    assert told.read_text().startswith("requeue ")
    assert gone(slurm), slurm.left()
    before = charged_by_trials(slurm.run)
    ended = sum(record.status.ended for record in read_run(slurm.run).records())
    assert ended < SPACE["trials"]  # type: ignore[operator]

    told.unlink()
    again = slurm.start()
    said, _ = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, said
    assert f"resuming: trials: {ended} kept" in said
    assert not told.exists(), "a run that ended is not queued again"
    assert gone(slurm), slurm.left()
    records = read_run(slurm.run).records()
    assert [record.status.value for record in records] == ["finished"] * 20
    assert charged_by_trials(slurm.run) == sum(record.queries for record in records) > before
    Shell(slurm.run.parent.parent).run("audit", str(slurm.run))


def test_a_job_that_was_cancelled_is_not_queued_again(slurm: Slurm) -> None:
    told = slurm.told("COMPLETING")
    job = slurm.start()
    wait_for_charges(job, slurm.run, 1)
    os.kill(job.pid, signal.SIGTERM)
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 143, said
    assert not told.exists()
    assert gone(slurm), slurm.left()
