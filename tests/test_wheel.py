"""The wheel holds all that a run needs, and works where there is no clone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CLONE = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*PIP, "wheel", *options, str(CLONE)], check=True)
    (path,) = folder.glob("raysys-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [*PIP, "install", "--no-deps", "--no-index", "--target", str(folder), str(wheel)], check=True
    )
    return folder


def python(installed: Path, folder: Path, *args: str) -> str:
    """What Python prints in an empty folder, with the installed wheel before everything else."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, cwd=folder, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tracked(*patterns: str) -> set[str]:
    return {str(path.relative_to(CLONE)) for pattern in patterns for path in CLONE.glob(pattern)}


def test_the_wheel_holds_code_spaces_dashboard_and_deployments(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == tracked(
        *("raysys/**/*.py", "dashboard/**/*.py"),
        *("search_spaces/*.py", "search_spaces/*.yaml", "search_spaces/space.schema.json", "raysys/deploy/*"),
    )


def test_the_wheel_describes_itself(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    text = archive.read(metadata).decode()
    assert "License-Expression: Apache-2.0" in text
    assert "# raysys" in text


def test_spaces_are_found_without_a_clone(installed: Path, tmp_path: Path) -> None:
    assert "digits" in python(installed, tmp_path, "-m", "raysys", "spaces")


def test_a_run_is_planned_without_a_clone(installed: Path, tmp_path: Path) -> None:
    shown = python(installed, tmp_path, "-m", "raysys", "tune", "--space", "digits", "--dry-run")
    assert "nothing was written" in shown
    assert list(tmp_path.iterdir()) == []


def test_the_dashboard_is_found_without_a_clone(installed: Path, tmp_path: Path) -> None:
    code = "from raysys.cli.dashboard import command; print(command()[1]['PYTHONPATH'])"
    assert python(installed, tmp_path, "-c", code).startswith(str(installed))
    assert (installed / "dashboard" / "app.py").is_file()
