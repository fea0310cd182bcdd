"""The surfaces that others build on: commands, their exit codes, and what goes to which stream."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raysys import errors
from raysys.cli.app import app, main


def commands() -> set[str]:
    names = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
    return names | {str(group.name) for group in app.registered_groups}


def test_command_names_stay() -> None:
    assert commands() == {
        "tune",
        "trial",
        "spaces",
        "ls",
        "show",
        "front",
        "compare",
        "importance",
        "report",
        "export",
        "audit",
        "teacher",
        "doctor",
        "dashboard",
        "deploy",
        "stop",
    }


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (errors.RaysysError, 1),
        (errors.StorageError, 1),
        (errors.UsageError, 2),
        (errors.SpaceError, 2),
        (errors.DataError, 2),
        (errors.CorruptRunError, 2),
        (errors.CheckError, 3),
        (errors.ResumeError, 5),
        (errors.UnreachableError, 6),
    ],
)
def test_exit_codes_stay(failure: type[errors.RaysysError], code: int) -> None:
    assert failure("what").exit_code == code


def test_the_package_is_a_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "raysys"], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0
    assert "Usage: raysys" in done.stdout
    assert done.stderr == ""


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in sorted(commands()):
        assert main([name, "--help"]) == 0
        assert f"raysys {name}" in capsys.readouterr().out


def test_json_is_all_that_stdout_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["spaces"]) == 8
