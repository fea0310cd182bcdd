import json
from pathlib import Path

import pytest

from raysys.cli.app import main
from raysys.distill.db3kd_options import Zsdb3kdOptions
from raysys.space.load import load_space, space_names, to_json


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
    assert "limits" not in out


def test_limits_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {**to_json(load_space("digits")), "limits": {"val_accuracy": 0.6, "queries": 4000}, "presets": {}}
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(data))
    assert main(["spaces", str(path)]) == 0
    assert "limits      val_accuracy >= 0.6, queries <= 4000\n" in capsys.readouterr().out


def test_another_method_is_shown_with_all_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "digits", "--method", "zsdb3kd"]) == 0
    out = capsys.readouterr().out
    for name, field in Zsdb3kdOptions.model_fields.items():
        rows = [
            line for line in out.splitlines() if line.split()[:1] == [name] or line.startswith(f"{name}_")
        ]
        assert any(str(field.description) in row for row in rows), name
    assert "method zsdb3kd" in out
    assert "preset " not in out
    assert main(["spaces", "digits", "--method", "dfme", "--response", "hard"]) == 2
    assert "use --response soft" in capsys.readouterr().err


def test_a_preset_is_shown_as_it_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "mnist", "--preset", "dfme-published", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["method"], shown["response"], shown["parameters"]) == ("dfme", "soft", {})
    assert (shown["options"]["batch"], shown["defaults"]["batch"]) == (256, 16)
    assert main(["spaces", "--preset", "dfme"]) == 2
    assert "no space given" in capsys.readouterr().err


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


def test_a_soft_method_is_shown_without_saying_soft(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "digits", "--method", "dfme", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["response"] == "soft"
