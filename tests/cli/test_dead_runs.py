"""Runs that say they are running, and whose driver is no more."""

import json
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from edge_runs import build, manifest

from raysys.cli.app import main
from raysys.store.driver import Driver, write_record
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState, write_manifest
from raysys.store.runs import discover


def driven_by(layout: RunLayout, pid: int) -> None:
    write_record(
        layout, Driver(host=socket.gethostname(), pid=pid, token="t", beat=datetime(9999, 1, 1, tzinfo=UTC))
    )


def test_ls_tells_a_run_that_runs_from_one_whose_driver_is_dead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as lives:
        for name, pid in (("runs", lives.pid), ("left", None), ("ended", lives.pid)):
            layout = RunLayout(tmp_path / name)
            write_manifest(layout, manifest(state=RunState.FINISHED if name == "ended" else RunState.RUNNING))
            if pid is not None:
                driven_by(layout, pid)
        assert main(["ls", str(tmp_path), "--json"]) == 0
        listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)["runs"]}
        assert {name: (row["state"], row["alive"]) for name, row in listed.items()} == {
            "runs": ("running", True), "left": ("running", False), "ended": ("finished", False)
        }  # fmt: skip
        lives.communicate(b"\n")
    assert main(["ls", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = {line.split()[0]: "running (dead)" in line for line in lines}
    assert (told["runs"], told["left"], told["ended"]) == (True, True, False)


def test_watching_ends_when_the_driver_dies_without_another_word(tmp_path: Path) -> None:
    layout = build(tmp_path, "running")
    command = [sys.executable, "-m", "raysys", "show", str(layout.root), "--watch"]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as driver:
        driven_by(layout, driver.pid)
        watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert watch.stdout
        while "front" not in watch.stdout.readline():
            assert watch.poll() is None
        driver.communicate(b"\n")
    told, _ = watch.communicate(timeout=120)
    assert f"process {driver.pid} on {socket.gethostname()} is dead" in told


def test_a_run_whose_files_cannot_be_read_is_a_line_of_the_list(tmp_path: Path) -> None:
    """Neither is damage: a file that is a folder, here, and a server that is away elsewhere."""
    build(tmp_path, "three")
    layout = build(tmp_path, "running")
    (layout.trials / "part-00000900-00000900-0badc0de.parquet").mkdir()
    three, broken = discover(tmp_path)
    assert (three.name, three.problem) == ("three", "")
    assert broken.name == "running" and "cannot read" in broken.problem


def test_ls_lists_a_run_whose_manifest_is_lost_but_for_the_one_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = build(tmp_path, "three")
    write_manifest(layout, manifest(trials=3))
    layout.run_json.unlink()
    assert main(["ls", str(tmp_path), "--json"]) == 0
    assert [run["name"] for run in json.loads(capsys.readouterr().out)["runs"]] == ["three"]
