import re
from pathlib import Path
from typing import Any

import pytest

from raysys.errors import SpaceError, UsageError
from raysys.space.load import (
    apply_overrides,
    digest,
    for_method,
    from_json,
    load_space,
    parse_settings,
    read_overrides,
    smoke,
    space_names,
    to_json,
)
from raysys.space.schema import Space

TEXT = """\
name: toy
dataset: digits
teacher:
  architecture: lenet5
  recipe: {epochs: 3}
student: lenet5
options: {g_width: 16}
parameters:
  g_steps: {type: int, low: 2, high: 30, log: true}
  optimizer: {type: categorical, choices: [sgd, adamw]}
  lr_sgd: {type: float, low: 1e-2, high: 1e-1, option: lr, when: {optimizer: sgd}}
  lr_adamw: {type: float, low: 1e-4, high: 1e-2, option: lr, when: {optimizer: adamw}}
  passes: {type: int, low: 1, high: 9, step: 2}
points:
  - {label: once, values: {g_steps: 30, optimizer: sgd, lr_sgd: 0.01, passes: 1}}
  - {label: other, values: {g_steps: 5, optimizer: sgd, lr_sgd: 0.01, passes: 1}}
trials: 4
smoke:
  trials: 2
  g_steps: {type: int, low: 2, high: 3}
  teacher: {recipe: {epochs: 1}}
"""
OPTIONS = {"g_steps", "g_width", "optimizer", "lr", "passes", "ema"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def space(file: Path) -> Space:
    return load_space(file)


def test_defaults_are_the_two_objectives_and_hard_labels(space: Space) -> None:
    assert [(one.name, one.direction) for one in space.objectives] == [
        ("val_accuracy", "maximize"),
        ("queries", "minimize"),
    ]
    assert (space.method, space.response, space.trials) == ("ideal", "hard", 4)
    assert space.parameters["lr_adamw"].probes() == [1e-4, 1e-2]


def test_unknown_space_names_the_nearest() -> None:
    with pytest.raises(SpaceError, match="unknown space 'cifar-10'") as error:
        load_space("cifar-10")
    assert "cifar100" in error.value.why
    assert error.value.hint == "did you mean: cifar10?   (raysys spaces)"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs: 3}", "epochs: 3.5}", "5: teacher.recipe.epochs: should be a valid integer, not 3.5"),
        ("student: lenet5", "student: 5", "6: student: should be a valid string, not 5"),
        ("trials: 4", "trials: -4", "17: trials: should be greater than or equal to 1, not -4"),
        ("trials: 4", "trails: 4", "17: unknown key trails known: name, description, dataset"),
        ("dataset: digits\n", "", "1: key dataset is missing"),
        (
            "low: 2, high: 30, log",
            "low: 0, high: 30, log",
            "9: parameters.g_steps.low: a log scale needs low > 0",
        ),
        (
            "low: 2, high: 30, log",
            "low: 50, high: 30, log",
            "9: parameters.g_steps.low: low=50 is above high=30",
        ),
        (
            "low: 2, high: 30, log",
            "lwo: 2, high: 30, log",
            "9: unknown key parameters.g_steps.lwo"
            " known: option, when, type, low, high, step, log did you mean: low?",
        ),
        ("low: 2, high: 30, log", "high: 30, log", "9: key parameters.g_steps.low is missing"),
        ("low: 2, high: 30, log", "low: 2, high: .inf, log", "9: parameters.g_steps.high: should be a"),
        ("step: 2", "step: 3", "13: parameters.passes.step: step=3 does not divide"),
        ("type: categorical", "type: choice", "10: parameters.optimizer: tag 'choice' found"),
        ("[sgd, adamw]", "[]", "10: parameters.optimizer.choices"),
        ("[sgd, adamw]", "[sgd, sgd]", "10: parameters.optimizer.choices.1: 'sgd' is given twice"),
        ("{optimizer: sgd}}", "{optmizer: sgd}}", "11: parameters.lr_sgd.when.optmizer: no such parameter"),
        (
            "{optimizer: sgd}}",
            "{optimizer: rmsprop}}",
            "11: parameters.lr_sgd.when.optimizer: optimizer can never be",
        ),
        (
            "{optimizer: sgd}}",
            "{optimizer: adamw}}",
            "12: parameters.lr_adamw: sets option lr, as lr_sgd does",
        ),
        (
            "[sgd, adamw]}",
            "[sgd, adamw], when: {lr_sgd: 0.05}}",
            "1\\d: parameters.\\w+: conditions form a cycle",
        ),
        (
            "{g_width: 16}",
            "{passes: 16}",
            "13: parameters.passes: option passes is fixed in `options` as well",
        ),
        ("g_steps: 30", "g_steps: 31", "15: points.0.values.g_steps: 31 is outside the range"),
        ("g_steps: 30", "g_stes: 30", "15: points.0.values.g_stes: no such parameter did you mean: g_steps?"),
        (
            "g_steps: 30, optimizer: sgd",
            "optimizer: adamw",
            "15: points.0.values.lr_sgd: lr_sgd is not active",
        ),
        ("student: lenet5", "name: toy", "6: key 'name' is given twice"),
        ("student: lenet5", "student: [", "\\d+: "),
        ("student: lenet5", "student: !!python/object:os.system {}", "6: could not determine a constructor"),
        ("trials: 2", "trials: many", "19: smoke: trials: should be a valid integer, not 'many'"),
        ("epochs: 1}}", "epocs: 1}}", "19: smoke: unknown key teacher.recipe.epocs"),
        ("  recipe: {epochs: 3}\n", "", "4: teacher: needs exactly one of: architecture and recipe"),
        ("trials: 4", "limits: {val_acuracy: 0.6}", "17: unknown key limits.val_acuracy known: val_accuracy"),
        (
            "trials: 4",
            "limits: {agreement: 0.6}\ntrials: 4",
            "17: limits.agreement: is no objective of this space: val_accuracy, queries",
        ),
        (
            "trials: 4",
            "limits: {val_accuracy: 60}\ntrials: 4",
            "17: limits.val_accuracy: should be less than 1, not 60",
        ),
        (
            "trials: 4",
            "limits: {queries: 0}\ntrials: 4",
            "17: limits.queries: should be greater than or equal to 1",
        ),
        ("trials: 4", "limits:\ntrials: 4", "17: limits: should be a mapping of keys, not null"),
        (
            "trials: 4",
            "resources: {cpus: 2}\ntrials: 4",
            "17: unknown key resources.cpus known: cpus_per_trial",
        ),
        (
            "[sgd, adamw]}",
            "[sgd, adamw], low: 1}",
            "10: unknown key parameters.optimizer.low known: option, when, type, choices",
        ),
        ("type: int, low: 2", "low: 2", "9: parameters.g_steps: has no type: int, float or categorical"),
        (
            "{type: int, low: 2, high: 30, log: true}",
            "5",
            "9: parameters.g_steps: should be a mapping of keys, such as {type: int, low: 1, high: 9}, not 5",
        ),
        (
            "[sgd, adamw]",
            "[sgd, null]",
            "10: parameters.optimizer.choices.1: should be a number, a text, true or false, not null",
        ),
        (
            "{g_width: 16}",
            "{g_width: [16, 32]}",
            "7: options.g_width: should be a number, a text, true or false",
        ),
        ("{optimizer: sgd}}", "{optimizer: []}}", "11: parameters.lr_sgd.when.optimizer: should be"),
        ("name: toy", "name: my toy", "1: name: should be letters, digits, '.', '_' and '-', not 'my toy'"),
        ("  g_steps:", "  on:", "\\d+: parameters: a key should be text, in quotes, not true"),
        (
            "g_steps: {type: int, low: 2, high: 3}",
            "g_steps: {type: int, low: 5, high: 3}",
            "19: smoke: parameters.g_steps.low: low=5 is above high=3",
        ),
        (
            "trials: 4",
            "trials: 4\ntask: {image_shape: [3, 0, 32], num_classes: 10}",
            "18: task.image_shape.1: should be greater than 0, not 0",
        ),
    ],
)
def test_a_wrong_file_is_told_by_file_line_and_key(file: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    file.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(SpaceError) as error:
        load_space(file)
    told = " ".join(str(error.value).split())
    assert re.match(re.escape(f"{file}:") + re.sub(r"(?<!\\)([.|?*()\[\]=])", r"\\\1", message), told), told


def merged(last: str) -> str:
    text = TEXT.replace("values: {g_steps: 30,", "values: &first {g_steps: 30,")
    return text[: text.index("  - {label: other")] + last + text[text.index("trials: 4") :]


def test_errors_in_merged_values_name_the_line_that_replaces(file: Path) -> None:
    file.write_text(merged("  - {values: {<<: *first, g_steps: 99}}\n"))
    with pytest.raises(SpaceError, match=r"toy.yaml:16: points.1.values.g_steps: 99 is outside"):
        load_space(file)


def test_merged_values_may_be_merged_again(file: Path) -> None:
    second = "  - {values: &second {<<: *first, g_steps: 6}}\n  - {values: {<<: *second, passes: 3}}\n"
    file.write_text(merged(second) + "presets: {six: {<<: *second, g_steps: 7}}\n")
    space = load_space(file)
    assert space.points[2].values == {"g_steps": 6, "optimizer": "sgd", "lr_sgd": 0.01, "passes": 3}
    assert space.presets["six"]["g_steps"] == 7


LIMITS: dict[str, Any] = {"val_accuracy": 0.6, "queries": 4000}


def test_limits_are_set_and_taken_away_by_overrides(space: Space) -> None:
    assert space.limits == {}
    limited = apply_overrides(space, {"limits.val_accuracy": 0.6, "limits.queries": 4000}, OPTIONS)
    assert limited.limits == LIMITS
    assert apply_overrides(limited, {"limits.queries": None}, OPTIONS).limits == {"val_accuracy": 0.6}
    assert from_json(to_json(limited)) == limited
    assert smoke(limited).limits == LIMITS
    assert for_method(limited, "noise", {"optimizer", "lr"}).limits == LIMITS
    assert digest(limited) != digest(space), "they decide what is searched"
    with pytest.raises(SpaceError, match=r"override: limits.val_accuracy: should be less than 1, not 1.5"):
        apply_overrides(space, {"limits.val_accuracy": 1.5}, OPTIONS)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "\x00", "a: &a [*a]"])
def test_what_is_no_space_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(SpaceError, match=re.escape(str(file))):
        load_space(file)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="cannot read"):
        load_space(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(SpaceError, match="cannot read"):
        load_space(tmp_path / "latin.yaml")


def test_relative_weights_are_taken_from_the_file(file: Path) -> None:
    file.write_text(
        TEXT.replace("recipe: {epochs: 3}", "weights: mine.safetensors").replace(
            "  teacher: {recipe: {epochs: 1}}\n", ""
        )
    )
    assert load_space(file).teacher.weights == str(file.parent / "mine.safetensors")


def test_settings_are_typed_as_yaml() -> None:
    assert parse_settings(
        ["g_steps=5", "lr=1e-3", "optimizer=adamw", "balance=false", "points=[]", "x=a=b"]
    ) == {
        "g_steps": 5,
        "lr": 1e-3,
        "optimizer": "adamw",
        "balance": False,
        "points": [],
        "x": "a=b",
    }
    with pytest.raises(UsageError, match="-s g_steps has no value"):
        parse_settings(["g_steps"])


def changed(space: Space, **overrides: Any) -> Space:
    return apply_overrides(space, overrides, OPTIONS)


def test_a_fixed_parameter_leaves_the_search(space: Space) -> None:
    fixed = changed(space, g_steps=5)
    assert "g_steps" not in fixed.parameters
    assert fixed.options == {"g_width": 16, "g_steps": 5}
    assert [point.values for point in fixed.points] == [{"optimizer": "sgd", "lr_sgd": 0.01, "passes": 1}]


def test_a_fixed_option_replaces_all_parameters_that_set_it(space: Space) -> None:
    fixed = changed(space, lr=0.05)
    assert not {"lr_sgd", "lr_adamw"} & fixed.parameters.keys()
    assert fixed.options["lr"] == 0.05


def test_a_fixed_parameter_with_another_name_keeps_its_condition(space: Space) -> None:
    fixed = changed(space, lr_sgd=0.07)
    assert fixed.parameters["lr_sgd"].probes() == [0.07]
    assert fixed.parameters["lr_sgd"].when == {"optimizer": "sgd"}
    assert "lr_sgd" not in fixed.points[0].values


def test_conditions_hold_on_what_was_fixed(space: Space) -> None:
    fixed = changed(space, optimizer="adamw")
    assert fixed.is_active("lr_adamw", {})
    assert not fixed.is_active("lr_sgd", {})
    assert [point.values for point in fixed.points] == [
        {"g_steps": 30, "passes": 1},
        {"g_steps": 5, "passes": 1},
    ]


def test_null_gives_the_default_and_a_mapping_a_new_range(space: Space) -> None:
    free = changed(space, passes=None, g_width={"type": "int", "low": 8, "high": 32})
    assert "passes" not in {*free.parameters, *free.options}
    assert free.parameters["g_width"].probes() == [8, 9, 32]
    assert free.options == {}


def test_other_keys_of_the_space_are_set(space: Space) -> None:
    other = apply_overrides(
        space, {"trials": 9, "student": "cnn3", "teacher.recipe.epochs": 7, "response": "soft"}, OPTIONS
    )
    assert (other.trials, other.student, other.response) == (9, "cnn3", "soft")
    assert other.teacher.recipe is not None and other.teacher.recipe.epochs == 7
    assert other.teacher.architecture == "lenet5"


@pytest.mark.parametrize(
    ("key", "value", "message", "hint"),
    [
        ("g_stepps", 5, "no parameter or option 'g_stepps'", "g_steps"),
        ("trails", 5, "no parameter or option 'trails'", "trials"),
        ("teacher.recipe.epoch", 5, "unknown key teacher.recipe.epoch", "epochs"),
        ("trials", "many", "trials: should be a valid integer, not 'many'", ""),
        ("trials", 0, "trials: should be greater than or equal to 1", ""),
        ("name", "x", "no parameter or option 'name'", ""),
    ],
)
def test_wrong_overrides_are_refused(space: Space, key: str, value: Any, message: str, hint: str) -> None:
    with pytest.raises(SpaceError, match=re.escape(message)) as error:
        apply_overrides(space, {key: value}, OPTIONS, source="-s")
    assert error.value.what.startswith("-s: ")
    assert hint in error.value.hint


def test_overrides_come_from_a_file(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("g_steps: 5\nteacher: {recipe: {epochs: 8}}\n")
    other = apply_overrides(space, read_overrides(path), OPTIONS)
    assert other.options["g_steps"] == 5
    assert other.teacher.recipe is not None and other.teacher.recipe.epochs == 8


def test_smoke_shrinks(space: Space) -> None:
    small = smoke(space)
    assert small.trials == 2
    assert small.parameters["g_steps"].probes() == [2, 3]
    assert small.teacher.recipe is not None and small.teacher.recipe.epochs == 1
    assert small.points[0].values == {"optimizer": "sgd", "lr_sgd": 0.01, "passes": 1}


def test_json_holds_the_whole_space(space: Space) -> None:
    assert from_json(to_json(space)) == space
    assert list(from_json(to_json(space)).parameters) == list(space.parameters)


def test_digest_tells_searches_apart(space: Space) -> None:
    assert digest(space) == digest(from_json(to_json(space)))
    assert digest(space) == digest(changed(space, trials=100))
    assert (
        len({digest(space), digest(changed(space, g_steps=5)), digest(changed(space, student="cnn3"))}) == 3
    )


@pytest.mark.parametrize("name", space_names())
def test_shipped_spaces_search_what_matters(name: str) -> None:
    space = load_space(name)
    assert space.name == name
    searched = {space.option(parameter) for parameter in space.parameters}
    assert searched >= {
        "g_steps",
        "epochs",
        "query_budget",
        "entropy_weight",
        "self_distill",
        "target_smoothing",
    }
    assert searched >= {"passes", "final_passes", "optimizer", "lr", "augment", "ema", "mixup", "balance"}
    once = space.points[0]
    assert once.label == "once"
    published = {
        "entropy": "per_sample",
        "entropy_weight": 5.0,
        "optimizer": "sgd",
        "lr_sgd": 0.01,
        "passes": 1,
    }
    assert published.items() <= once.values.items()


def test_eight_spaces_are_shipped() -> None:
    assert space_names() == sorted(
        ["digits", "mnist", "fmnist", "svhn", "cifar10", "cifar100", "tiny_imagenet", "imagenet12"]
    )


def test_a_manifest_cannot_vouch_for_its_own_program() -> None:
    space = apply_overrides(
        load_space("digits"),
        {
            "teacher.architecture": None,
            "teacher.recipe": None,
            "teacher.program": "x.pt2",
            "teacher.trusted": True,
        },
    )
    data = to_json(space)
    assert data["teacher"]["trusted"] is True
    assert from_json(data).teacher.trusted is False
    assert from_json(data, trust_program=True) == space
