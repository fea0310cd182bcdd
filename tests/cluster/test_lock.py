"""One driver a run: refused, taken over, asked to end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from raysys.cluster import lock
from raysys.cluster.experiment import start_run
from raysys.cluster.lock import run_lock
from raysys.cluster.machine import Machine
from raysys.cluster.search_plan import Search
from raysys.errors import ResumeError, StorageError
from raysys.space.load import load_space
from raysys.store.driver import Driver, StopRequest, read_driver, write_record
from raysys.store.layout import RunLayout

HOLD_PROGRAM = """
import sys
from pathlib import Path
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem
from raysys.cluster.lock import run_lock
from raysys.cluster.signals import Terminated, SoftStop, terminable
from raysys.store.layout import RunLayout
root, kind = sys.argv[1:]
layout = RunLayout(Path(root)) if kind == "local" else RunLayout(
    Path("run"), SubTreeFileSystem(root, LocalFileSystem()))
try:
    with terminable(), run_lock(layout), SoftStop() as soft:
        print("held", flush=True)
        while not soft.signal:
            pass
        print("softly", flush=True)
except Terminated:
    print("at once", flush=True)
"""


@contextmanager
def holder(root: Path, kind: str = "local") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD_PROGRAM, str(root), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        try:
            yield owner
        finally:
            owner.kill()


def elsewhere(root: Path) -> RunLayout:
    """A run on a filesystem without locks."""
    (root / "run").mkdir(exist_ok=True)
    return RunLayout(Path("run"), SubTreeFileSystem(str(root), LocalFileSystem()))


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    with holder(tmp_path) as owner:
        message = (
            rf"another process works on {tmp_path}\n  its owner is process {owner.pid} on .*\n.*raysys stop"
        )
        with pytest.raises(ResumeError, match=message), run_lock(layout):
            pass
        owner.kill()
        owner.wait()
        with run_lock(layout):
            pass


def test_it_is_free_again_after_its_block_also_after_an_error(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    with pytest.raises(ValueError, match="boom"), run_lock(layout):
        raise ValueError("boom")
    with run_lock(layout), pytest.raises(ResumeError, match="another process"), run_lock(layout):
        pass
    assert read_driver(layout) is None


def test_without_file_locks_the_dead_are_told_from_the_living(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SILENCE_S", 30.0)
    layout, told = elsewhere(tmp_path), list[str]()
    with holder(tmp_path, "tree") as owner:
        with pytest.raises(ResumeError, match=rf"process {owner.pid} on"), run_lock(layout, told.append):
            pass
        assert "waiting up to 30 s for a sign of life" in told[0]
        owner.kill()
        owner.wait()
        with run_lock(layout):  # its process is gone: nobody is waited for
            pass


@pytest.mark.parametrize(("silent_s", "waits"), [(1.0, True), (3600.0, False)])
def test_a_driver_of_another_machine_that_stays_silent_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_s: float, waits: bool
) -> None:
    monkeypatch.setattr(lock, "SILENCE_S", 0.1)
    beat = datetime.now(UTC) - timedelta(seconds=silent_s)
    layout, told = elsewhere(tmp_path), list[str]()
    write_record(layout, Driver(host="elsewhere", pid=7, token="t", beat=beat))
    with run_lock(layout, told.append):
        found = read_driver(layout)
        assert found is not None and (found.host, found.pid) == (socket.gethostname(), os.getpid())
    assert bool(told) is waits


@pytest.mark.parametrize(("now", "said"), [(False, "softly"), (True, "at once")])
def test_it_passes_on_that_the_run_should_end(tmp_path: Path, now: bool, said: str) -> None:
    layout = RunLayout(tmp_path)
    with holder(tmp_path) as owner:
        driver = read_driver(layout)
        assert driver is not None
        write_record(layout, StopRequest(token="of another session", now=True, asked_by="nobody"))
        write_record(layout, StopRequest(token=driver.token, now=now, asked_by="ann on laptop"))
        out, err = owner.communicate(timeout=60)
        assert out == f"{said}\n"
        assert "raysys stop: ann on laptop asks this run to end" in err
        assert owner.returncode == 0
    assert read_driver(layout) is None
    assert not layout.stop.exists()


def test_a_driver_that_was_replaced_writes_nothing_more(tmp_path: Path) -> None:
    layout = elsewhere(tmp_path)
    with holder(tmp_path, "tree") as owner:
        other = Driver(host="elsewhere", pid=7, token="another", beat=datetime.now(UTC))
        write_record(layout, other)
        _, err = owner.communicate(timeout=60)
        assert owner.returncode == 5
        assert "process 7 on elsewhere has taken the run" in err
    assert read_driver(layout) == other


def test_signs_of_life_come_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "driver.json"
    with holder(tmp_path) as owner:
        first = json.loads(path.read_text())["beat"]
        while json.loads(path.read_text())["beat"] == first:
            assert owner.poll() is None
        owner.send_signal(signal.SIGTERM)
        owner.communicate(timeout=60)


def test_a_run_that_another_driver_has_begun_at_the_same_time_is_not_written_over(tmp_path: Path) -> None:
    """Where folders are not made by one driver alone, as in S3, both may find that there is no such run."""
    layout = RunLayout(tmp_path / "run")

    def beats(text: str) -> None:
        if text.startswith(("run ", "process 7 on elsewhere worked")):
            write_record(layout, Driver(host="elsewhere", pid=7, token="t", beat=datetime.now(UTC)))

    machine = Machine(data_root=tmp_path, cache=tmp_path / "cache")
    with pytest.raises(ResumeError, match="its owner is process 7 on elsewhere"):
        start_run(layout, load_space("digits"), machine, Search(), beats)
    assert not layout.run_json.exists()


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    layout.lock.mkdir()
    with pytest.raises(StorageError, match=f"cannot open {layout.lock}"), run_lock(layout):
        pass
