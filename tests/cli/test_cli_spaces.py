import json
from pathlib import Path

import pytest

from raysys.cli.app import main
from raysys.space.load import load_space, space_names


def test_all_spaces_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["name", "dataset", "parameters"]
    assert [line.split()[0] for line in lines[1:]] == space_names()


def test_a_space_is_shown_with_ranges_conditions_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "digits"]) == 0
    out = capsys.readouterr().out
    assert "maximize val_accuracy, minimize queries" in out
    row = next(line for line in out.splitlines() if line.startswith("lr_adamw"))
    assert row.split()[:8] == ["lr_adamw", "0.0005", "to", "0.01,", "log", "optimizer", "=", "adamw"]
    assert "point 1, once: query_budget=2000" in out


def test_json_holds_the_space(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "mnist", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["parameters"].keys() == load_space("mnist").parameters.keys()
    assert shown["objectives"][0] == {"name": "val_accuracy", "direction": "maximize"}
    assert shown["defaults"]["g_steps"] == 30


def test_a_wrong_space_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "svnh"]) == 2
    assert "did you mean: svhn?   (raysys spaces)" in capsys.readouterr().err
    path = tmp_path / "own.yaml"
    path.write_text("name: own\ntrials: x\n")
    assert main(["spaces", str(path)]) == 2
    assert f"error: {path}:1: key dataset is missing" in capsys.readouterr().err
