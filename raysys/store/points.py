"""The points of a run and the front among them: what `front`, `tune`, the report and the dashboard show."""

import json
import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.fronts.front import Front, anytime_front, final_front
from raysys.fronts.objectives import TESTED, Floats
from raysys.store.reader import Snapshot
from raysys.store.schema import PARAMETER

Kind = Literal["final", "anytime"]
"""`final`: a point is a finished trial. `anytime`: a point is a report of any trial."""


def points_table(snapshot: Snapshot, kind: Kind = "final") -> pa.Table:
    """The table whose rows are the points of a front of this kind."""
    return snapshot.trials if kind == "final" else snapshot.reports


def run_front(snapshot: Snapshot, kind: Kind = "final") -> Front:
    """The front among the rows of `points_table`."""
    table = points_table(snapshot, kind)
    queries, reached = floats(table, "queries"), floats(table, snapshot.manifest.score)
    if kind == "anytime":
        return anytime_front(queries, reached, snapshot.manifest.reference)
    return final_front(table["status"].to_numpy(), queries, reached, snapshot.manifest.reference)


def within(
    snapshot: Snapshot, front: Front, kind: Kind, max_queries: float | None, min_accuracy: float | None
) -> Front:
    """The part of a front within limits; knee and hypervolume stay the whole front's.

    `min_accuracy` is of what ranks the students, be it accuracy or agreement.
    """
    table = points_table(snapshot, kind).take(front.members)
    keep = np.ones(len(front.members), dtype=bool)
    if max_queries is not None:
        keep &= floats(table, "queries") <= max_queries
    if min_accuracy is not None:
        keep &= floats(table, snapshot.manifest.score) >= min_accuracy
    return replace(front, members=front.members[keep])


def front_json(snapshot: Snapshot, front: Front, kind: Kind = "final") -> dict[str, Any]:
    """A front as the JSON object of `raysys front --json`."""
    manifest = snapshot.manifest
    return {
        "run": snapshot.path,
        "objectives": [
            {"name": manifest.score, "direction": "maximize"},
            {"name": "queries", "direction": "minimize"},
        ],
        "reference": {manifest.score: manifest.reference.accuracy, "queries": manifest.reference.queries},
        "hypervolume": front.hypervolume,
        "kind": kind,
        "excluded": front.excluded,
        "points": _points(snapshot, front, kind),
    }


def varying_parameters(snapshot: Snapshot) -> list[str]:
    """Names of the parameters that differ between the trials, by name."""
    trials = snapshot.trials
    names = [name.removeprefix(PARAMETER) for name in trials.column_names if name.startswith(PARAMETER)]
    return [name for name in names if pc.count_distinct(trials[PARAMETER + name], mode="all").as_py() > 1]


def floats(table: pa.Table, column: str) -> Floats:
    """A column as float64 (rows,), NaN where it is null."""
    return np.asarray(table[column].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _points(snapshot: Snapshot, front: Front, kind: Kind) -> list[dict[str, Any]]:
    rows = points_table(snapshot, kind).take(front.members).to_pylist()
    trials = {row["uid"]: row for row in snapshot.trials.to_pylist()} if kind == "anytime" else {}
    points = []
    for member, row in zip(front.members, rows, strict=True):
        trial = trials.get(row["uid"]) if kind == "anytime" else row
        points.append(
            {
                "uid": row["uid"],
                "queries": row["queries"],
                # A report is a moment of its trial: what its end reached on test is not its own.
                **{name: _finite(row.get(name)) for names in TESTED.items() for name in names},
                "config": json.loads(trial["config"]) if trial else {},
                "knee": bool(member == front.knee),
            }
        )
    return points


def _finite(value: float | None) -> float | None:
    """`value`, or None in place of what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None
