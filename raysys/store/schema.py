"""The tables of a run: trials (one row a trial) and reports (one row a point of a trial's curve)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from raysys.records import PARTS, Report, Scalar, TrialConfig, TrialRecord, TrialStatus

PARAMETER = "param."
"""Prefix of the column of one parameter, in the trials table."""

LOSS = "loss."
"""Prefix of the column of one loss, in the reports table."""

SECONDS = tuple(f"seconds.{part}" for part in PARTS)
"""Columns of the reports table that say where its `seconds` went, null where an older raysys did not tell."""

TRIALS = pa.schema(
    [
        ("uid", pa.string()),
        ("attempt", pa.int64()),
        ("status", pa.string()),
        ("method", pa.string()),
        ("response", pa.string()),
        ("student", pa.string()),
        ("seed", pa.int64()),
        ("config", pa.string()),
        ("queries", pa.int64()),
        ("val_accuracy", pa.float64()),
        ("agreement", pa.float64()),
        ("test_accuracy", pa.float64()),
        ("test_agreement", pa.float64()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
        ("weights_sha256", pa.string()),
    ]
)
"""Columns of every trials part; `config` is JSON of the options, `param.NAME` columns follow."""

RECIPE = ("method", "response", "student", "config")
"""Columns that are equal in trials that differ by their seed only: `TrialConfig.recipe`."""

_OF_CONFIG = ("method", "response", "student", "seed")
_OF_RECORD = tuple(name for name in TRIALS.names if name not in (*_OF_CONFIG, "status", "config"))

REPORTS = pa.schema(
    [
        ("uid", pa.string()),
        ("attempt", pa.int64()),
        ("step", pa.int64()),
        ("queries", pa.int64()),
        ("val_accuracy", pa.float64()),
        ("agreement", pa.float64()),
        ("pool_size", pa.int64()),
        ("seconds", pa.float64()),
        ("milestone", pa.bool_()),
        *((name, pa.float32()) for name in SECONDS),
    ]
)
"""Columns of every reports part; `loss.NAME` columns (float64) follow."""

LATER = {"milestone": False, **dict.fromkeys(SECONDS)}
"""Columns that parts of an older raysys lack, and what they would have had there."""


def trials_table(records: Sequence[TrialRecord]) -> pa.Table:
    """Trials as a table in the order given."""
    rows = [
        {
            **{name: getattr(record.config, name) for name in _OF_CONFIG},
            **{name: getattr(record, name) for name in _OF_RECORD},
            "status": record.status.value,
            "config": record.config.options_json,
        }
        for record in records
    ]
    options = [record.config.options for record in records]
    return _with_columns(pa.Table.from_pylist(rows, schema=TRIALS), PARAMETER, options)


def reports_table(reports: Sequence[Report]) -> pa.Table:
    """Reports as a table in the order given."""
    fields = [name for name in REPORTS.names if name not in SECONDS]
    rows = [
        {name: getattr(report, name) for name in fields}
        | {name: report.seconds_by.get(part) for name, part in zip(SECONDS, PARTS, strict=True)}
        for report in reports
    ]
    losses = [{name: float(value) for name, value in report.losses.items()} for report in reports]
    return _with_columns(pa.Table.from_pylist(rows, schema=REPORTS), LOSS, losses)


def trial_record(row: dict[str, Any]) -> TrialRecord:
    """The record of one row of the trials table."""
    config = TrialConfig(
        uid=row["uid"], options=json.loads(row["config"]), **{name: row[name] for name in _OF_CONFIG}
    )
    values = {name: row[name] for name in _OF_RECORD}
    return TrialRecord(status=TrialStatus(row["status"]), config=config, **values)


def concat(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """One table of all rows; a parameter whose type differs between the parts becomes text."""
    types: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for column in table.schema:
            types.setdefault(column.name, set()).add(column.type)
    mixed = {pa.string(), pa.bool_()}
    texts = [name for name, found in types.items() if len(found) > 1 and found & mixed]
    tables = [schema.empty_table(), *(_as_text(table, texts) for table in tables)]
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


def _with_columns(table: pa.Table, prefix: str, values: Sequence[Mapping[str, Scalar]]) -> pa.Table:
    """`table` with one more column for each name in `values`, null where a row has none."""
    for name in sorted({name for row in values for name in row}):
        table = table.append_column(prefix + name, _column([row.get(name) for row in values]))
    return table


def _column(values: Sequence[Scalar | None]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # text in one row, a number in another
        return pa.array([None if value is None else str(value) for value in values])


def _as_text(table: pa.Table, names: Sequence[str]) -> pa.Table:
    for name in set(names) & set(table.column_names):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, table[name].cast(pa.string()))
    return table
