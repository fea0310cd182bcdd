"""The tables of a run as files for other tools: the same for the command and for the dashboard."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysys.store.csv_text import csv_bytes
from raysys.store.points import SCORES, Kind, floats, marked_front_json, run_front
from raysys.store.reader import Snapshot

What = Literal["trials", "front", "reports", "ledger"]
Format = Literal["parquet", "csv"]

FRONT = pa.schema(
    [("uid", pa.string()), ("queries", pa.float64())]
    + [(name, pa.float64()) for name in (*SCORES, *(f"{name}_std" for name in SCORES), "seconds")]
    + [("seeds", pa.int64()), ("uids", pa.list_(pa.string())), ("config", pa.string())]
    + [(name, pa.bool_()) for name in ("knee", "best", "cheapest")]
)
"""Columns of the front: those of a point of `raysys front --json`; `config` is JSON."""


@dataclass(frozen=True)
class Pick:
    """What of a run is exported. None, or no status: no limit.

    `statuses` of trials; `max_queries` in images, `max_seconds` of work, `min_score` in [0, 1]. What is not
    known is not within a limit. On a front, only the limits act.
    """

    statuses: tuple[str, ...] = ()
    max_queries: float | None = None
    max_seconds: float | None = None
    min_score: float | None = None

    @property
    def whole(self) -> bool:
        """True where nothing is left out."""
        return self == Pick()


def export_table(
    snapshot: Snapshot, what: What, pick: Pick, kind: Kind, ledger: Callable[[], pa.Table]
) -> pa.Table:
    """What is exported: trials, their reports, their requests in the ledger, or the front of `kind`.

    `ledger` reads the table of requests. Those of no trial, such as `evaluation`, are in the whole only.
    """
    if what == "front":
        return front_export(snapshot, pick, kind)
    trials = snapshot.trials.filter(_within(snapshot, pick))
    if what == "trials":
        return trials
    table = snapshot.reports if what == "reports" else ledger()
    return table if pick.whole else table.filter(pc.is_in(table["uid"], trials["uid"].combine_chunks()))


def encoded(table: pa.Table, file_format: Format) -> bytes:
    """The table as a file. In CSV, lists become words between spaces, and no text is a formula."""
    if file_format == "parquet":
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        return buffer.getvalue()
    for at, column in enumerate(table.columns):
        if pa.types.is_list(column.type):
            table = table.set_column(at, table.column_names[at], pc.binary_join(column, " "))
    return csv_bytes(table)


def _within(snapshot: Snapshot, pick: Pick) -> pa.Array:
    """Which trials are picked, bool (trials,)."""
    trials = snapshot.trials
    picked = np.ones(trials.num_rows, dtype=np.bool_)
    if pick.statuses:
        picked &= np.isin(trials["status"].to_numpy(), pick.statuses)
    if pick.max_queries is not None:
        picked &= floats(trials, "queries") <= pick.max_queries
    if pick.max_seconds is not None:
        picked &= floats(trials, "seconds") <= pick.max_seconds
    if pick.min_score is not None:
        picked &= floats(trials, snapshot.manifest.score) >= pick.min_score
    return pa.array(picked)


def front_export(snapshot: Snapshot, pick: Pick, kind: Kind) -> pa.Table:
    """The part of the front within the limits of `pick`, with the columns `FRONT`."""
    whole = run_front(snapshot, kind)
    limits = pick.max_queries, pick.min_score, pick.max_seconds
    points = marked_front_json(snapshot, whole, kind, *limits)["points"]
    rows = [{**point, "config": json.dumps(point["config"], sort_keys=True)} for point in points]
    return pa.Table.from_pylist(rows, schema=FRONT)
