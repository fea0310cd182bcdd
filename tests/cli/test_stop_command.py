"""`raysys stop`: asks the driver of a run, on whatever machine it is."""

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from edge_runs import build

from raysys.cli.app import main
from raysys.store.driver import Driver, read_driver, write_record
from raysys.store.layout import RunLayout

DRIVER_PROGRAM = """
import sys
from raysys.cluster.lock import run_lock
from raysys.cluster.signals import terminable
from raysys.store.layout import RunLayout
try:
    with terminable(), run_lock(RunLayout.open(sys.argv[1])):
        print("works", flush=True)
        while True:
            pass
except KeyboardInterrupt as end:
    print(type(end).__name__)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    return build(tmp_path, "running")


@pytest.mark.parametrize("options", [[], ["--now"]])
def test_it_asks_the_driver_and_waits_for_it(
    run: RunLayout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987654)  # as in a container, a user without a name
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER_PROGRAM, str(run.root)], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None and driver.stdout.readline() == "works\n"
        assert main(["stop", str(run.root), *options]) == 0
        assert read_driver(run) is None
        assert driver.communicate(timeout=60)[0] == "Terminated\n"
    told = capsys.readouterr()
    assert f"asked process {driver.pid} on {socket.gethostname()} to end" in told.err
    assert f"raysys tune --resume {run.root}" in told.out


def test_a_run_that_nobody_works_on_is_left_as_it_is(
    run: RunLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stop", str(run.root)]) == 0
    assert "nobody works on" in capsys.readouterr().out
    beat = datetime.now(UTC) - timedelta(hours=3)
    write_record(run, Driver(host="elsewhere", pid=7, token="t", beat=beat))
    assert main(["stop", str(run.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "run": str(run.root), "stopped": False, "state": "running"
    }  # fmt: skip
    assert not run.stop.exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop", str(tmp_path)]) == 2
    assert "is no run" in capsys.readouterr().err


def test_show_tells_the_living_from_the_dead(run: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    def told() -> str:
        assert main(["show", str(run.root), "--watch"]) == 0  # which ends: nobody works on the run
        return capsys.readouterr().out

    assert "none: raysys tune --resume goes on with it" in told()
    beat = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    write_record(run, Driver(host="elsewhere", pid=7, token="t", beat=beat))
    assert "process 7 on elsewhere is dead, last heard of at 2026-01-02 03:04:05 UTC" in told()
    assert main(["show", str(run.root), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["driver"]
    assert (shown["host"], shown["pid"], shown["alive"]) == ("elsewhere", 7, False)
