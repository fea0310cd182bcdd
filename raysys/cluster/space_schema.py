"""The JSON Schema of a space file, by which an editor completes and checks one."""

from typing import Any

from raysys.data.datasets import DATASETS, SYNTHETIC
from raysys.distill.options import METHODS, method_options
from raysys.models.classifiers import CLASSIFIERS
from raysys.space.schema import Space


def space_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of `Space`, with the names that raysys ships as proposals.

    It holds nothing of what other packages install, and refuses no method, option or network of theirs.
    What only the whole space shows (conditions, points, whether options fit the method) it does not check.
    """
    schema = Space.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    keys, teacher = schema["properties"], schema["$defs"]["TeacherSpec"]["properties"]
    keys["dataset"]["examples"] = [*DATASETS, SYNTHETIC]
    keys["method"]["examples"] = sorted(METHODS)
    keys["student"]["examples"] = teacher["architecture"]["examples"] = sorted(CLASSIFIERS)
    for key, name in (("options", "Scalar"), ("parameters", "Parameter")):
        value = {"$ref": f"#/$defs/{name}"}
        schema["$defs"][name] = keys[key]["additionalProperties"]
        keys[key]["additionalProperties"] = value
        keys[key]["properties"] = {one: {"description": told, **value} for one, told in _options().items()}
    return schema


def _options() -> dict[str, str]:
    """What each option of the shipped methods is, by name; as one of the methods that have it tells it."""
    fields = [field for method in METHODS for field in method_options(method).model_fields.items()]
    return {name: str(field.description) for name, field in sorted(fields, key=lambda one: one[0])}
