"""How two spaces differ, key by key, for a person."""

from collections.abc import Mapping
from typing import Any

from raysys.space.load import UNDECIDING

SHOWN = 8
"""Keys that are told of in a line."""
LONG = 120
"""Longer values are not told: only that they differ."""


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed from one space to another, both as JSON data; empty where they search the same.

    One line each, where there is any, for keys that were removed, added and changed. Where a teacher's server
    is does not count.
    """
    before, after = flat(old), flat(new)
    removed = [key for key in before if key not in after]
    added = [_pair(key, told(after[key])) for key in after if key not in before]
    changed = [
        _pair(key, f"{told(before[key])} -> {told(after[key])}")
        for key in before
        if key in after and before[key] != after[key]
    ]
    parts = (("removed", removed), ("added", added), ("changed", changed))
    return [f"{what}: {_listed(keys)}" for what, keys in parts if keys]


def flat(space: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a search of a space in JSON data: parameters and options by name, all else by its key."""
    flat = {key: value for key, value in space.items() if key not in (*UNDECIDING, "parameters", "options")}
    teacher = dict(flat.get("teacher") or {})
    if teacher.get("http"):
        teacher["http"] = {**teacher["http"], "url": ""}
    flat |= {f"teacher.{key}": value for key, value in teacher.items() if value is not None}
    flat.pop("teacher", None)
    return {**flat, **space.get("options", {}), **space.get("parameters", {})}


def _pair(key: str, value: str) -> str:
    return f"{key} {value}" if len(value) <= LONG else key


def _listed(keys: list[str]) -> str:
    more = f", and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more


def told(value: Any) -> str:
    """A range as [low, high], a choice as {a, b}, anything else as it is."""
    if not isinstance(value, Mapping) or "type" not in value:
        return str(value)
    more = "".join(f" {key}={value[key]}" for key in ("option", "when") if value.get(key))
    if value["type"] == "categorical":
        return f"{{{', '.join(map(str, value['choices']))}}}{more}"
    steps = " log" if value.get("log") else f" step {value['step']:g}" if value.get("step") else ""
    return f"[{value['low']:g}, {value['high']:g}]{steps}{more}"
