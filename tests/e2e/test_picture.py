"""The front's picture, drawn by plotly's own script in a real browser."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from edge_runs import build

from raysys.figures.picture import find_chromium

pytestmark = pytest.mark.slow


def draw(run: Path, output: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "raysys.figures.picture", str(run), "-o", str(output)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.skipif(
    not find_chromium() and not os.environ.get("CI"), reason="no Chromium: see `make browser`"
)
def test_the_picture_of_a_run_is_an_svg_with_its_front(tmp_path):
    output = tmp_path / "docs" / "front.svg"
    done = draw(build(tmp_path, "three").root, output)
    assert done.returncode == 0, done.stderr
    text = "".join(ElementTree.parse(output).getroot().itertext())
    assert "teacher queries (images)" in text
    assert "knee" in text


def test_without_a_run_nothing_is_written(tmp_path):
    done = draw(tmp_path, tmp_path / "front.svg")
    assert done.returncode == 2
    assert "is no run" in done.stderr
    assert not (tmp_path / "front.svg").exists()


def test_without_a_browser_the_way_out_is_told(tmp_path):
    done = draw(build(tmp_path, "three").root, tmp_path / "front.svg", RAYSYS_CHROMIUM="", PATH="")
    assert done.returncode == 2
    assert "make browser" in done.stderr
