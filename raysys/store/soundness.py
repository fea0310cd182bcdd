"""Whether a part holds what its table may hold: anybody may have written the file.

A reader relies on it: numbers that can be indices, states that exist, configs that are JSON objects, texts
that a page can show.
"""

import json
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from raysys.records import TrialStatus
from raysys.store.schema import LOSS, PARAMETER

MOST_COLUMNS, MOST_NAME, MOST_TEXT = 1000, 200, 2**20
"""Columns of a part; bytes of a name (a uid, a column's); bytes of any other text."""

MOST_COUNT = 2**40
"""Queries, steps and attempts are below."""

_VALUES = {pa.bool_(), pa.int64(), pa.float64(), pa.string(), pa.null()}
"""Types of parameters and losses."""

_PLAIN = {bool, int, float, str}
"""Types of what a config says."""

_ALWAYS = ("uid", "attempt", "status", "method", "response", "student", "seed", "config", "step", "queries")
_COUNTS = ("attempt", "step", "queries", "pool_size")
_NAMES = ("uid", "method", "response", "student")


def sound_part(table: pa.Table, schema: pa.Schema) -> pa.Table | None:
    """The columns of a table with this schema, its parameters and losses; None when it is damaged.

    Other columns are left out: a newer raysys may have written them.
    """
    more = [name for name in table.column_names if name.startswith((PARAMETER, LOSS))]
    if not set(schema.names) <= set(table.column_names) or len(schema) + len(more) > MOST_COLUMNS:
        return None
    table = table.select([*schema.names, *more])
    types = all(table.schema.field(name).type == schema.field(name).type for name in schema.names)
    values = all(table.schema.field(name).type in _VALUES and _fits(name) for name in more)
    if not types or not values:
        return None
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return table if all(_is_sound(name, table[name]) for name in table.column_names) else None


def _is_sound(name: str, column: pa.ChunkedArray) -> bool:
    if name in _ALWAYS and column.null_count:
        return False
    if name in _COUNTS:
        bounds = pc.min_max(column).as_py()
        return bounds["min"] is None or (bounds["min"] >= 0 and bounds["max"] < MOST_COUNT)
    if not pa.types.is_string(column.type):
        return True
    longest = pc.max(pc.binary_length(column)).as_py() or 0
    if longest > (MOST_NAME if name in _NAMES else MOST_TEXT):
        return False
    if name == "status":
        return set(column.unique().to_pylist()) <= {status.value for status in TrialStatus}
    return name != "config" or _are_configs(column.unique().to_pylist())


def _are_configs(texts: Iterable[str]) -> bool:
    """True for JSON objects of plain values."""
    names: set[str] = set()
    try:
        for text in texts:
            options = json.loads(text)
            if not isinstance(options, dict) or not _PLAIN.issuperset(map(type, options.values())):
                return False
            names.update(options)
    except (ValueError, RecursionError):
        return False
    return all(map(_fits, names))


def _fits(name: str) -> bool:
    return len(name) <= MOST_NAME and name.isprintable()
