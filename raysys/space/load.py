"""Spaces by name or file, and what a command line changes about them."""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

import raysys
from raysys.errors import SpaceError, UsageError, nearest
from raysys.records import Scalar
from raysys.space import yaml_file
from raysys.space.schema import Point, Space

SETTINGS = frozenset(Space.model_fields) - {
    "name",
    "description",
    "options",
    "parameters",
    "smoke",
    "presets",
}
"""Keys of a space that an override may set; any other key is a parameter or an option of the method."""

_MAPPING = "should be a mapping of keys"
_MESSAGES = {
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": f"{_MAPPING}, such as {{type: int, low: 1, high: 9}}",
    "union_tag_not_found": "has no type: int, float or categorical",
    "string_pattern_mismatch": "should be letters, digits, '.', '_' and '-'",
}
"""What pydantic says for programmers, by the type of the error."""


def _folder() -> Path:
    """The shipped spaces: beside the package, in a clone as in an installed wheel."""
    return Path(raysys.__file__).resolve().parent.parent / "search_spaces"


def space_names() -> list[str]:
    """The shipped spaces' names, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load_space(name_or_path: str | os.PathLike[str]) -> Space:
    """The shipped space of that name, or the one in that YAML file. Raises SpaceError (file, line, key).

    A relative path to the teacher's weights or program is taken from the file's folder.
    """
    path = _file(name_or_path)
    document = yaml_file.read(path)
    space = _validate(document.data, document)
    with told_with_line(path, "smoke"):
        smoke(space)
    return _anchor(space, path.resolve().parent)


def _file(name_or_path: str | os.PathLike[str]) -> Path:
    text = os.fspath(name_or_path)
    if text.endswith((".yaml", ".yml")) or os.sep in text:
        return Path(text)
    if text in space_names():
        return _folder() / f"{text}.yaml"
    near = nearest(text, space_names())
    raise SpaceError(
        f"unknown space {text!r}", f"known: {', '.join(space_names())}", f"{near}   (raysys spaces)".strip()
    )


@contextmanager
def told_with_line(name_or_path: str | os.PathLike[str], *key: str) -> Iterator[None]:
    """What is refused within is told with the space's file, and the line of that key in it."""
    try:
        yield
    except UsageError as error:
        document = yaml_file.read(_file(name_or_path))
        line, _ = document.locate(key)
        raise SpaceError(f"{document.name}:{line}: {error.what}", error.why, error.hint) from None


def _anchor(space: Space, folder: Path) -> Space:
    """`space` with the teacher's files as absolute paths."""
    files = {"weights": space.teacher.weights, "program": space.teacher.program}
    absolute = {key: str(folder / Path(value).expanduser()) for key, value in files.items() if value}
    return space.model_copy(update={"teacher": space.teacher.model_copy(update=absolute)})


def read_overrides(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The overrides of a `-c` file, for `apply_overrides`. Raises SpaceError."""
    return dict(yaml_file.read(Path(path)).data)


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """The overrides of `-s key=value`, typed as YAML types them; a later one wins. Raises UsageError."""
    overrides = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise UsageError(f"-s {setting} has no value", hint="write -s key=value")
        overrides[key.strip()] = yaml_file.scalar(value)
    return overrides


def apply_overrides(
    space: Space,
    overrides: Mapping[str, Any],
    known_options: Collection[str] | None = None,
    source: str = "override",
) -> Space:
    """`space`, changed by `key: value` pairs as `-s`, `-c` and `smoke` give them. Raises SpaceError.

    - A parameter or option set to a value leaves the search and is fixed; set to null it takes the method's
      default; set to a mapping (`{type: int, low: 1, high: 9}`) it is searched in that range.
    - `trials`, `student`, `teacher.recipe.epochs`, ... set that key of the space; mappings are merged.
    - Points keep the values that are still searched.

    `known_options` are the method's options; when given, any other key is refused with the nearest name.
    `source` is what errors call the overrides.
    """
    data = space.model_dump()
    for key, value in overrides.items():
        head, *rest = key.split(".")
        if head in SETTINGS:
            for part in reversed(rest):
                value = {part: value}
            data[head] = _merged(data[head], value)
        else:
            known = {
                *data["parameters"],
                *data["options"],
                *(space.option(name) for name in space.parameters),
            }
            if known_options is not None and key not in known.union(known_options):
                names = sorted(known.union(known_options, SETTINGS))
                hint = nearest(key, names) or f"raysys spaces {space.name} shows the parameters"
                raise SpaceError(
                    f"{source}: no parameter or option {key!r}", f"known: {', '.join(names)}", hint
                )
            _set(data["parameters"], data["options"], key, value)
    if "points" not in overrides:
        bare = _validate({**data, "points": []}, None, source)
        data["points"] = [point.model_dump() for point in _still_searched(bare, space.points)]
    return _validate(data, None, source)


def for_method(space: Space, method: str, known_options: Collection[str]) -> Space:
    """`space` for another method: without the options, parameters and overrides that it does not know.

    What is active only with one of them goes, too, and the points of `smoke`. Other points keep the values
    that are still searched.
    """
    kept = {name: one for name, one in space.parameters.items() if space.option(name) in known_options}
    options = {name: value for name, value in space.options.items() if name in known_options}
    while bare := [name for name, one in kept.items() if not one.when.keys() <= {*kept, *options}]:
        for name in bare:
            del kept[name]
    words = {*SETTINGS, *kept, *known_options} - {"points"}
    data = space.model_dump()
    data |= {"method": method, "options": options, "points": []}
    data["parameters"] = {name: one for name, one in data["parameters"].items() if name in kept}
    data["smoke"] = {key: value for key, value in space.smoke.items() if key.split(".")[0] in words}
    bare_space = _validate(data, None, f"method {method}")
    points = [point.model_dump() for point in _still_searched(bare_space, space.points)]
    return _validate({**data, "points": points}, None, f"method {method}")


def smoke(space: Space) -> Space:
    """The space as `--smoke` runs it: shrunk by its own `smoke` block. Raises SpaceError."""
    return apply_overrides(space, space.smoke, source="smoke")


def to_json(space: Space) -> dict[str, Any]:
    """The space as JSON data, for a run's manifest."""
    return space.model_dump(mode="json")


def from_json(data: Mapping[str, Any], trust_program: bool = False) -> Space:
    """The space that `to_json` wrote. Raises SpaceError.

    A manifest's word that the teacher's program may be unpickled counts only with `trust_program`: the run
    may be somebody else's.
    """
    space = _validate(dict(data), None, "manifest")
    trusted = space.teacher.trusted and trust_program
    return space.model_copy(update={"teacher": space.teacher.model_copy(update={"trusted": trusted})})


UNDECIDING = ("description", "trials", "resources", "smoke", "presets")
"""Keys that decide neither which trials are searched nor what each of them does."""


def digest(space: Space) -> str:
    """sha256 (hex) of all that decides which trials are searched and what each of them does."""
    return digest_of(to_json(space))


def digest_of(data: Mapping[str, Any]) -> str:
    """The digest of a space that `to_json` wrote, perhaps of an older raysys."""
    deciding = {key: value for key, value in data.items() if key not in UNDECIDING}
    return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return new


def _set(parameters: dict[str, Any], options: dict[str, Any], key: str, value: Any) -> None:
    """Fix, free or replace one parameter or option."""
    if parameters.get(key, {}).get("option") and value is not None and not isinstance(value, dict):
        kept = {name: parameters[key][name] for name in ("option", "when") if name in parameters[key]}
        parameters[key] = {"type": "categorical", "choices": [value], **kept}
        return
    for name in [name for name, one in parameters.items() if key in (name, one.get("option"))]:
        del parameters[name]
    options.pop(key, None)
    if isinstance(value, dict):
        parameters[key] = value
    elif value is not None:
        options[key] = value


def _still_searched(space: Space, points: Iterable[Point]) -> list[Point]:
    """What is left of `points` in a changed space; equal ones once, empty ones dropped."""
    kept: list[Point] = []
    for point in points:
        values: dict[str, Scalar] = {}
        for name, parameter in space.ordered():
            given = point.values.get(name)
            if given is not None and parameter.contains(given) and space.is_active(name, values):
                values[name] = given
        values = {name: values[name] for name in point.values if name in values}
        if values and all(values != other.values for other in kept):
            kept.append(Point(label=point.label, values=values))
    return kept


def _validate(data: Any, document: yaml_file.Document | None, source: str = "") -> Space:
    try:
        return Space.model_validate(data)
    except ValidationError as error:
        raise _explain(error, document, source) from None


def _explain(failure: ValidationError, document: yaml_file.Document | None, source: str) -> SpaceError:
    """The first thing that is wrong, with its file, line and key."""
    errors = failure.errors()
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    path = [*first["loc"]]
    message = _message(first)
    if path[-1:] == ["[key]"]:
        path, message = path[:-2], "a key should be text, in quotes"
    elif any(error["loc"] == (*path[:-1], "bool") for error in errors):  # one error for each type of a Scalar
        path, message = path[:-1], "should be a number, a text, true or false"
    if path[:1] == ["parameters"] and path[2:]:
        del path[2]  # the parameter's type, which stands nowhere in the file
    path += first.get("ctx", {}).get("path", ())
    if document is None:
        where, key = source, ".".join(str(part) for part in path)
    else:
        line, key = document.locate(path)
        where = f"{document.name}:{line}"
    if first["type"] == "extra_forbidden":
        known = _known(first["loc"][:-1])
        return SpaceError(
            f"{where}: unknown key {key}", f"known: {', '.join(known)}", nearest(str(path[-1]), known)
        )
    if first["type"] == "missing":
        return SpaceError(f"{where}: key {key} is missing")
    return SpaceError(f"{where}: {key}: {message}{_got(first)}")


def _message(error: ErrorDetails) -> str:
    told = error["msg"].removeprefix("Input ").removeprefix("List ").replace(" after validation", "")
    return _MESSAGES.get(error["type"], told)


def _got(error: ErrorDetails) -> str:
    """What stands there instead, if it is short and not told already."""
    value = error["input"]
    if error["type"] == "space" or "should have" in error["msg"] or isinstance(value, dict | list):
        return ""
    return f", not {json.dumps(value) if value is None or isinstance(value, bool) else repr(value)}"


def _known(path: tuple[int | str, ...]) -> list[str]:
    """The keys that a space may have where pydantic says that one is unknown."""
    whole = Space.model_json_schema()
    node = whole
    for part in path:
        if "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"][part]}
        else:
            node = node.get("properties", {}).get(part) or node.get("items") or node["additionalProperties"]
        node = next((one for one in node.get("anyOf", ()) if "$ref" in one), node)
        node = whole["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    return list(node["properties"])
