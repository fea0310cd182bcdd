"""The JSON Schema by which editors complete a space file."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import search_spaces
from raysys.cli.app import main
from raysys.cluster.space_schema import space_schema
from raysys.space.load import load_space, space_names, to_json

FOLDER = Path(search_spaces.__file__).parent
SHIPPED = FOLDER / "space.schema.json"


def shipped() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SHIPPED.read_text()))


def test_the_shipped_schema_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "--schema"]) == 0
    assert capsys.readouterr().out == SHIPPED.read_text(), (
        "the schema of a space changed: raysys spaces --schema > search_spaces/space.schema.json"
    )


@pytest.mark.parametrize("name", space_names())
def test_shipped_spaces_name_the_schema_and_keep_it(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    assert text.startswith(f"# yaml-language-server: $schema={SHIPPED.name}\n")
    assert not [error.message for error in shipped().iter_errors(yaml.safe_load(text))]
    assert shipped().is_valid(to_json(load_space(name))), "as --print-config writes it"


def described(node: Any, path: str = "") -> list[str]:
    """The keys below `node` that no description explains."""
    if isinstance(node, list):
        return [bare for one in node for bare in described(one, path)]
    if not isinstance(node, dict):
        return []
    keys = node["properties"] if isinstance(node.get("properties"), dict) else {}
    bare = [f"{path}.{key}" for key, value in keys.items() if not value.get("description")]
    return bare + [found for key, value in node.items() for found in described(value, f"{path}.{key}")]


def test_every_key_is_explained() -> None:
    assert described(space_schema()) == []


def test_what_raysys_knows_is_proposed() -> None:
    keys = space_schema()["properties"]
    assert {"ideal", "noise"} <= set(keys["method"]["examples"])
    assert {"digits", "synthetic"} <= set(keys["dataset"]["examples"])
    assert {"lenet5", "mlp"} <= set(keys["student"]["examples"])
    assert "query_budget" in keys["options"]["properties"] and "g_steps" in keys["parameters"]["properties"]


SPACE = """
name: own
dataset: leaves
teacher: {architecture: mine, recipe: {epochs: 3}}
student: mine
method: of_a_package
options: {its_option: 3}
parameters: {its_other: {type: int, low: 1, high: 9}}
limits: {val_accuracy: 0.6, queries: 4000}
trials: 4
"""


def test_names_of_other_packages_are_not_refused() -> None:
    assert shipped().is_valid(yaml.safe_load(SPACE))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("trials: 4", "trails: 4"),
        ("trials: 4", "trials: 0"),
        ("dataset: leaves\n", ""),
        ("epochs: 3", "epochs: 3, optimizer: adam"),
        ("type: int, low: 1", "type: int, lwo: 1"),
        ("type: int, low", "type: integer, low"),
        ("{its_option: 3}", "{its_option: [3]}"),
        ("val_accuracy: 0.6", "val_accuracy: 60"),
        ("queries: 4000", "querys: 4000"),
        ("trials: 4", "trials: 4\nobjectives: [{name: accuracy, direction: maximize}]"),
        ("trials: 4", "trials: 4\nresources: {cpus: 2}"),
    ],
)
def test_bad_files_are_refused(old: str, new: str) -> None:
    assert old in SPACE
    assert not shipped().is_valid(yaml.safe_load(SPACE.replace(old, new)))
