"""One space for several methods: what `--method` leaves of it, and presets."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from raysys.cli.app import main
from raysys.cluster.plan import check_space, with_method, with_preset
from raysys.cluster.problem import complete_config
from raysys.distill.db3kd_options import Db3kdOptions
from raysys.distill.options import method_options, parse_options
from raysys.errors import SpaceError, UsageError
from raysys.space.load import apply_overrides, digest, from_json, load_space, smoke, space_names, to_json

PRESETS: dict[str, Any] = {
    "cheap": {"query_budget": 300, "optimizer": "sgd", "student": "cnn3", "trials": 2},
    "static": {"method": "noise", "kind": "uniform", "query_budget": 400, "final_passes": 10},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The digits with presets, as a file of somebody's own."""
    data = {**to_json(load_space("digits")), "presets": PRESETS}
    data["teacher"] = {"architecture": "mlp", "recipe": {"epochs": 1}}
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


@pytest.mark.parametrize("name", space_names())
def test_a_shipped_space_can_be_searched_with_another_method(name: str) -> None:
    whole = load_space(name)
    space = with_method(whole, "noise")
    check_space(space)
    check_space(smoke(space))
    known = method_options("noise").model_fields
    assert {space.option(one) for one in space.parameters} | set(space.options) <= set(known)
    assert {"query_budget", "lr_sgd", "lr_adamw", "final_passes"} <= space.parameters.keys()
    assert 0 < len(space.points) <= len(whole.points)
    assert all(point.values.keys() <= space.parameters.keys() for point in space.points)
    assert with_method(whole, "ideal") is whole


def test_a_preset_fixes_its_values(path: Path) -> None:
    space = with_preset(load_space(path), "cheap")
    check_space(space)
    assert (space.student, space.trials, space.options["query_budget"]) == ("cnn3", 2, 300)
    assert not {"query_budget", "optimizer"} & space.parameters.keys()
    assert "g_steps" in space.parameters, "the rest is searched"


def test_a_preset_may_be_of_another_method(path: Path) -> None:
    space = with_preset(load_space(path), "static")
    check_space(space)
    assert (space.method, space.options["kind"]) == ("noise", "uniform")
    assert "g_steps" not in space.parameters


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ({"g_stepps": 3}, r"preset p: no parameter or option 'g_stepps'(?s:.*)did you mean: g_steps\?"),
        ({"student": 3}, "preset p: student: "),
        ({"method": "nois"}, r"unknown method 'nois'(?s:.*)did you mean: noise\?"),
        ({"method": "noise", "g_steps": 3}, "preset p: no parameter or option 'g_steps'"),
    ],
)
def test_a_bad_preset_is_refused(preset: dict[str, Any], message: str) -> None:
    space = load_space("digits").model_copy(update={"presets": {"p": preset}})
    with pytest.raises(UsageError, match=message):
        with_preset(space, "p")


def test_an_unknown_preset_comes_with_the_known(path: Path) -> None:
    message = r"no preset 'cheep'\n  known: cheap, static\n  did you mean: cheap\?"
    with pytest.raises(UsageError, match=message):
        with_preset(load_space(path), "cheep")
    with pytest.raises(UsageError, match="no preset 'cheap'\n  known: none"):
        with_preset(load_space("digits").model_copy(update={"presets": {}}), "cheap")


def test_presets_that_nobody_took_change_no_search(path: Path) -> None:
    space = load_space(path)
    assert digest(space) == digest(space.model_copy(update={"presets": {}}))
    assert from_json(to_json(space)).presets == PRESETS
    with pytest.raises(SpaceError, match="presets"):
        from_json({**to_json(space), "presets": {"cheap": 3}})


def test_a_space_shows_its_presets_and_checks_them(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", str(path)]) == 0
    assert "preset static: method=noise, kind=uniform, query_budget=400" in capsys.readouterr().out
    assert main(["spaces", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["presets"] == PRESETS
    path.write_text(path.read_text().replace("kind: uniform", "kind: pink"))
    assert main(["spaces", str(path)]) == 2
    told = capsys.readouterr().err
    line = 1 + path.read_text().splitlines().index("  static:")
    assert f"error: {path}:{line + 1}: " in told
    assert "option kind='pink' of method noise cannot be used" in told


def test_a_bad_preset_is_told_by_file_and_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(path.read_text().replace("kind: uniform", "kinds: uniform"))
    line = 1 + path.read_text().splitlines().index("  static:")
    assert main(["tune", "--space", str(path), "--preset", "static", "--dry-run"]) == 2
    assert (
        f"error: {path}:{line + 1}: preset static: no parameter or option 'kinds'" in capsys.readouterr().err
    )
    assert main(["tune", "--space", str(path), "--preset", "cheap", "--print-config"]) == 0, "not taken"


@pytest.mark.parametrize(
    ("flags", "method", "budget"),
    [
        (["--preset", "static"], "noise", 400),
        (["--preset", "static", "-s", "query_budget=500"], "noise", 500),
        (["--preset", "static", "--smoke", "-s", "query_budget=500"], "noise", 500),
        (["--method", "noise", "-s", "query_budget=350", "-s", "rounds=2"], "noise", 350),
        (["-s", "method=noise", "-s", "query_budget=350", "-s", "rounds=2"], "noise", 350),
        (["--preset", "cheap"], "ideal", 300),
    ],
)
def test_the_command_line_chooses_preset_and_method(
    path: Path, flags: list[str], method: str, budget: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "--space", str(path), *flags, "--print-config"]) == 0
    chosen = yaml.safe_load(capsys.readouterr().out)
    assert (chosen["method"], chosen["options"]["query_budget"]) == (method, budget)


def test_a_trial_takes_a_preset(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ["trial", "--space", str(path), "--preset", "static", "--storage", str(tmp_path), "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["method"], told["queries"]) == ("noise", 400)
    assert main(["trial", "--from", f"{tmp_path}/x:u00000", "--preset", "static"]) == 2
    assert "--preset cannot be used with --from" in capsys.readouterr().err


SYSTEMS = {
    "surrogate": "surrogate",
    "uniform": "noise",
    "structured": "noise",
    "db3kd": "db3kd",
    "zsdb3kd": "zsdb3kd",
    "db3kd-published": "db3kd",
    "zsdb3kd-published": "zsdb3kd",
    "once": "ideal",
    "official": "ideal",
    "dfme": "dfme",
    "dfme-published": "dfme",
}


@pytest.mark.parametrize("preset", SYSTEMS)
@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_a_shipped_preset_leaves_nothing_open(name: str, preset: str) -> None:
    space = with_preset(load_space(name), preset)
    check_space(space)
    assert (space.method, space.response) == (SYSTEMS[preset], "soft" if "dfme" in preset else "hard")
    assert not space.parameters and not space.points
    larger = apply_overrides(space, {"query_budget": 5_000_000})
    check_space(larger)
    assert complete_config(larger, {}, "u00000", 0).options["query_budget"] == 5_000_000


def test_the_published_presets_have_the_published_constants() -> None:
    dfme = complete_config(with_preset(load_space("digits"), "dfme-published"), {}, "u00000", 0).options
    published = {"batch": 256, "g_iter": 1, "d_iter": 5, "directions": 1, "epsilon": 1e-3, "s_lr": 0.1}
    published |= {"g_lr": 1e-4, "weight_decay": 5e-4, "latent_dim": 256, "replay": 0, "final_passes": 0}
    assert published.items() <= dfme.items()
    ideal = complete_config(with_preset(load_space("mnist"), "official"), {}, "u00000", 0).options
    released = {"batch_size": 250, "train_batch": 250, "epochs": 100, "g_steps": 30, "entropy_weight": 5.0}
    released |= {"lr": 0.01, "passes": 1, "final_passes": 0, "augment": 0.0, "balance": False}
    assert released.items() <= ideal.items()


@pytest.mark.parametrize("name", ["digits", "mnist"])
@pytest.mark.parametrize("preset", ["db3kd-published", "zsdb3kd-published"])
def test_the_published_searches_get_a_budget_that_pays_for_ten_samples(name: str, preset: str) -> None:
    space = with_preset(load_space(name), preset)
    options = parse_options(space.method, dict(space.options))
    assert isinstance(options, Db3kdOptions)
    assert options.search_queries(options.candidates, options.rounds) == 201 * 21 + 88 * 225
    assert options.query_budget == 10 * options.sample_queries(10)
    with pytest.raises(SpaceError, match="is less than one sample can cost"):
        check_space(apply_overrides(space, {"query_budget": 100_000}))


def test_a_preset_and_another_method_are_refused_together(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trial", "--space", str(path), "--preset", "static", "--method", "ideal"]) == 2
    assert "preset static is of method noise, not of ideal" in capsys.readouterr().err
