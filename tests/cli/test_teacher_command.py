import json
from pathlib import Path

import pytest

from raysys.cli.app import main


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_teacher_is_trained_once_and_then_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teacher", "train", "--space", "digits", "--smoke", "--json"]) == 0
    trained = capsys.readouterr()
    assert "epoch 10/10" in trained.err
    assert main(["teacher", "eval", "--space", "digits", "--smoke", "--json"]) == 0
    evaluated = capsys.readouterr()
    assert json.loads(evaluated.out) == json.loads(trained.out)
    assert "epoch" not in evaluated.err
    assert json.loads(trained.out)["test_accuracy"] > 0.9


def test_evaluating_an_untrained_teacher_says_how_to_train_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teacher", "eval", "--space", "digits"]) == 2
    assert "raysys teacher train --space digits" in capsys.readouterr().err


def test_missing_data_exits_2_and_names_the_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["teacher", "train", "--space", "mnist", "--data-root", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(tmp_path / "MNIST" / "raw") in captured.err
