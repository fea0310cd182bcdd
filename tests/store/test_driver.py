"""Who works on a run, by its files."""

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from raysys.store.driver import (
    SILENCE_S,
    Driver,
    StopRequest,
    forget_driver,
    read_driver,
    read_stop,
    write_record,
)
from raysys.store.layout import RunLayout

NOW = datetime.now(UTC)


def driver(host: str = "elsewhere", pid: int = 1, silent_s: float = 0.0) -> Driver:
    return Driver(host=host, pid=pid, token="t", beat=datetime.now(UTC) - timedelta(seconds=silent_s))


def test_what_is_written_is_read_and_forgotten(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert read_driver(layout) is None and read_stop(layout) is None
    me, wish = driver(), StopRequest(token="t", now=True, asked_by="somebody")
    write_record(layout, me)
    write_record(layout, wish)
    assert (read_driver(layout), read_stop(layout)) == (me, wish)
    forget_driver(layout)
    forget_driver(layout)
    assert read_driver(layout) is None and read_stop(layout) is None


def test_a_damaged_record_is_none(tmp_path: Path) -> None:
    (tmp_path / "driver.json").write_text('{"host": "x"')
    assert read_driver(RunLayout(tmp_path)) is None


@pytest.mark.parametrize(("silent_s", "alive"), [(0, True), (SILENCE_S - 1, True), (SILENCE_S + 1, False)])
def test_a_driver_elsewhere_is_judged_by_its_sign_of_life(silent_s: float, alive: bool) -> None:
    assert driver(silent_s=silent_s).alive is alive
    assert not driver(silent_s=silent_s).gone


def test_a_driver_here_is_judged_by_its_process_as_well() -> None:
    here = socket.gethostname()
    assert driver(here, os.getpid()).alive
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert driver(here, ended.pid).gone
    assert not driver(here, ended.pid).alive
