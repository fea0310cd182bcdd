import json
from pathlib import Path

import pytest

from raysys.cli.app import main


def test_the_doctor_lists_what_is_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    main(["doctor", "--json", "--data-root", str(tmp_path), "--storage", str(tmp_path / "runs")])
    report = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["torch"]["status"] == checks["ray tune"]["status"] == "ok"
    assert checks["data sets"]["detail"].startswith("digits, mnist (in")
    assert not (tmp_path / "runs").exists()


def test_a_storage_that_cannot_be_written_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert main(["doctor", "--json", "--storage", str(tmp_path / "file" / "runs")]) == 3
    captured = capsys.readouterr()
    assert not json.loads(captured.out)["ok"]
    assert "storage" in captured.err


def test_a_cluster_that_is_not_there_is_unreachable(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["doctor", "--storage", str(tmp_path), "--address", "127.0.0.1:1"]) == 6
    assert "no Ray cluster at 127.0.0.1:1" in capsys.readouterr().err
