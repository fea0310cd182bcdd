"""YAML for people: safe, no key given twice, `1e-3` is a number, and every value knows its line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from raysys.errors import SpaceError


class _Loader(yaml.SafeLoader):
    """The safe loader, with the numbers of YAML 1.2 (`1e-3`) and without duplicate keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)  # before `<<` adds what it merges
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.composer.ComposerError(
                        None, None, f"key {key.value!r} is given twice", key.start_mark
                    )
                seen.add(key.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class Document:
    """A YAML text and where each of its values stands. `name` is what errors call it."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        try:
            loader = _Loader(text)
            self._root = loader.get_single_node()
            self.data = {} if self._root is None else loader.construct_document(self._root)
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            raise SpaceError(f"{name}{line}: {error.problem or error.context}") from None
        except (yaml.YAMLError, ValueError) as error:
            raise SpaceError(f"{name}: is no YAML", str(error)) from None
        if not isinstance(self.data, dict):
            raise SpaceError(f"{name}:1: must be a mapping of keys, not a {type(self.data).__name__}")

    def locate(self, path: Sequence[str | int]) -> tuple[int, str]:
        """The line of the value at `path`, or of the nearest that exists, and its dotted key.

        Parts that the text does not hold (the tag of a union) are passed over, but a missing key is named.
        """
        node, key = self._root, []
        for position, part in enumerate(path):
            inner = _child(node, part)
            if inner is not None:
                node = inner
            missing = position == len(path) - 1 and isinstance(node, yaml.CollectionNode)
            if inner is not None or missing:
                key.append(str(part))
        return (node.start_mark.line + 1 if node else 1), ".".join(key)


def _child(node: yaml.Node | None, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        found = [value for key, value in node.value if key.value == str(part)]
        return found[-1] if found else None  # what `<<` merges stands before what replaces it
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child: yaml.Node = node.value[part]
        return child
    return None


def read(path: Path) -> Document:
    """The YAML file at `path`. Raises SpaceError when it cannot be read, with file and line."""
    try:
        return Document(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpaceError(f"cannot read {path}", reason) from None


def scalar(text: str) -> Any:
    """`text` as YAML types it: `5` is an int, `1e-3` a float, `adamw` a string, `[1, 2]` a list."""
    return Document(f"value: {text}", repr(text)).data["value"]
