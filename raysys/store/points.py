"""The points of a run and the front among them: what `front`, `tune`, the report and the dashboard show."""

import json
import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raysys.fronts.attainment import best_within, cheapest_with
from raysys.fronts.front import Front, pareto_front
from raysys.fronts.history import History, front_history
from raysys.fronts.objectives import TESTED, Floats
from raysys.fronts.points import Bools, Ints, Points, numbered
from raysys.fronts.sizes import front_sizes
from raysys.records import TrialStatus
from raysys.store.reader import Snapshot
from raysys.store.schema import PARAMETER, RECIPE

Kind = Literal["final", "anytime"]
"""`final`: a point is the finished trials of one recipe. `anytime`: the reports of one recipe at one step."""

SCORES = tuple(name for pair in TESTED.items() for name in pair)
"""Columns whose spread over the seeds is told, too."""


def run_front(snapshot: Snapshot, kind: Kind = "final") -> Front:
    """The front among the points of a run; their rows are those of `_rows`."""
    rows = _rows(snapshot, kind)
    points = _final(rows) if kind == "final" else _anytime(snapshot, rows)
    return pareto_front(points, _objectives(snapshot, rows), snapshot.manifest.goal)


def front_within(
    snapshot: Snapshot,
    whole: Front,
    kind: Kind = "final",
    max_queries: float | None = None,
    min_score: float | None = None,
    max_seconds: float | None = None,
) -> Front:
    """The front among the points within limits; knee, hypervolume and counts stay the whole front's.

    Where time is no objective, a slow point may dominate faster ones: within `max_seconds` (mean of the
    seeds) there can be points that are not on the whole front.
    """
    part = whole
    if max_seconds is not None:
        rows = _rows(snapshot, kind)
        slow = whole.points.mean(floats(rows, "seconds")) > max_seconds
        points = replace(whole.points, counts=whole.points.counts & ~slow)
        part = pareto_front(points, _objectives(snapshot, rows), snapshot.manifest.goal)
    part = part.within(max_queries, min_score)
    return replace(whole, members=part.members, queries=part.queries, score=part.score)


def run_history(snapshot: Snapshot) -> History:
    """How the final front grew, trial by trial as they ended; queries of evaluation are not counted."""
    rows = ended_trials(snapshot)
    return front_history(_final(rows), _objectives(snapshot, rows), snapshot.manifest.goal)


def run_sizes(snapshot: Snapshot) -> Ints:
    """How many points the final front had after each trial that ended, as `run_history`."""
    rows = ended_trials(snapshot)
    return front_sizes(_final(rows), _objectives(snapshot, rows), snapshot.manifest.goal)


def ended_trials(snapshot: Snapshot) -> pa.Table:
    """The rows of the trials that ended, in the order in which they did."""
    ended = [status.value for status in TrialStatus if status.ended]
    return snapshot.trials.filter(pc.is_in(snapshot.trials["status"], pa.array(ended)))


def finished_trials(snapshot: Snapshot) -> pa.Table:
    """The rows of the trials that ended by themselves, in the order in which they did."""
    return snapshot.trials.filter(pc.equal(snapshot.trials["status"], TrialStatus.FINISHED.value))


def points_table(snapshot: Snapshot, front: Front, kind: Kind = "final", at: Ints | None = None) -> pa.Table:
    """The points that a front is of, one a row, with the columns of their first row; or those `at` (k,).

    Numbers are means over the `seeds`, as float64; the spread of scores is in `..._std`.
    """
    rows, points = _rows(snapshot, kind), front.points
    if at is not None:
        chosen, points = points.part(at)
        rows = rows.take(chosen)
    table = rows.take(points.first)
    for name in ("queries", "seconds", *SCORES):
        if name in rows.column_names:
            column = floats(rows, name)
            table = table.set_column(table.column_names.index(name), name, pa.array(points.mean(column)))
            if name in SCORES:
                table = table.append_column(f"{name}_std", pa.array(points.std(column)))
    return table.append_column("seeds", pa.array(points.seeds))


def positions(snapshot: Snapshot, front: Front, kind: Kind = "final") -> tuple[Floats, Bools]:
    """Of all points (n,): the mean score, NaN where there is none, and whether they may be on the front.

    Those may that count, have finite objectives and are within the space's limits.
    """
    columns, goal = _objectives(snapshot, _rows(snapshot, kind)), snapshot.manifest.goal
    costs = goal.costs(front.points.values(goal, columns))
    return front.points.mean(columns[goal.score]), np.asarray(np.isfinite(costs).all(axis=1))


def point_of(snapshot: Snapshot, front: Front, uid: str, kind: Kind = "final") -> int | None:
    """The point of a trial, of its last report where points are reports; None where there is none."""
    rows = np.flatnonzero(pc.equal(_rows(snapshot, kind)["uid"], uid).to_numpy())
    return int(front.points.of[rows[-1]]) if len(rows) else None


def member_uids(snapshot: Snapshot, front: Front, kind: Kind = "final") -> list[list[str]]:
    """The trials of each member of a front, the one that names it first."""
    uids = _rows(snapshot, kind)["uid"]
    return [uids.take(front.points.rows(member)).to_pylist() for member in front.members]


def front_table(snapshot: Snapshot, front: Front, kind: Kind = "final") -> pa.Table:
    """The members of a front as a table, by rising queries: what `front_json` says of them, and parameters.

    Columns `uid`, `seeds`, `queries`, `cost` (USD, where queries have a price), `score` and `test` (of what
    ranks the students; shares) with `..._std` over the seeds, `seconds`, `knee`, and a `param.NAME` for each
    parameter that differs between the trials.
    """
    score, price = snapshot.manifest.score, snapshot.manifest.price
    table = points_table(snapshot, front, kind, front.members)
    columns = {name: table[name] for name in ("uid", "seeds", "queries")}
    if price:
        columns["cost"] = pa.array(price * floats(table, "queries"))
    for name, column in (("score", score), ("test", TESTED[score])):
        for suffix in ("", "_std"):
            known = column + suffix in table.column_names
            values = floats(table, column + suffix) if known else np.full(table.num_rows, np.nan)
            columns[name + suffix] = pa.array(values, mask=~np.isfinite(values))
    columns |= {"seconds": table["seconds"], "knee": pa.array(front.members == front.knee, pa.bool_())}
    trials = snapshot.trials
    at = pc.index_in(table["uid"], trials["uid"])
    for name in varying_parameters(snapshot):
        columns[PARAMETER + name] = trials[PARAMETER + name].take(at)
    return pa.table(columns)


def front_json(snapshot: Snapshot, front: Front, kind: Kind = "final") -> dict[str, Any]:
    """A front as the JSON object of `raysys front --json`; its points' numbers are means over the seeds."""
    manifest = snapshot.manifest
    objectives = sorted(manifest.objectives, key=lambda one: one.name != manifest.score)  # the score first
    return {
        "run": snapshot.path,
        "objectives": [{"name": one.name, "direction": one.direction} for one in objectives],
        "limits": dict(manifest.goal.limits),
        "reference": {manifest.score: manifest.reference.accuracy, "queries": manifest.reference.queries},
        "hypervolume": front.hypervolume,
        "kind": kind,
        "excluded": front.excluded,
        "outside": front.outside,
        "points": _points(snapshot, front, kind),
    }


def marked_front_json(
    snapshot: Snapshot,
    whole: Front,
    kind: Kind = "final",
    max_queries: float | None = None,
    min_score: float | None = None,
    max_seconds: float | None = None,
) -> dict[str, Any]:
    """`front_json` of the part within limits; its points say whether they are the best, or the cheapest.

    The best has the highest score within limits on queries or seconds; the cheapest, where there is a least
    score, the fewest queries.
    """
    part = front_within(snapshot, whole, kind, max_queries, min_score, max_seconds)
    data = front_json(snapshot, part, kind)
    spending = max_queries is not None or max_seconds is not None
    marked = {
        "best": best_within(part, math.inf) if spending else None,
        "cheapest": None if min_score is None else cheapest_with(part, min_score),
    }
    for member, point in zip(part.members, data["points"], strict=True):
        point |= {mark: bool(member == found) for mark, found in marked.items()}
    return data


def history_json(snapshot: Snapshot) -> dict[str, Any]:
    """How the final front of a run grew, as the JSON object of `raysys front --history --json`.

    `history` has the state after the first trial that ended, and then wherever the hypervolume changed.
    """
    history = run_history(snapshot)
    steps = zip(history.queries.tolist(), history.hypervolume.tolist(), strict=True)
    changes: list[dict[str, float]] = []
    for ended, (queries, volume) in enumerate(steps, start=1):
        if not changes or volume != changes[-1]["hypervolume"]:
            changes.append({"ended": ended, "queries": int(queries), "hypervolume": volume})
    manifest = snapshot.manifest
    return {
        "run": snapshot.path,
        "reference": {manifest.score: manifest.reference.accuracy, "queries": manifest.reference.queries},
        "ended": len(history.queries),
        "queries": int(history.queries[-1]) if len(history.queries) else 0,
        "history": changes,
    }


def varying_parameters(snapshot: Snapshot) -> list[str]:
    """Names of the parameters that differ between the trials, by name."""
    trials = snapshot.trials
    names = [name.removeprefix(PARAMETER) for name in trials.column_names if name.startswith(PARAMETER)]
    return [name for name in names if pc.count_distinct(trials[PARAMETER + name], mode="all").as_py() > 1]


def floats(table: pa.Table, column: str) -> Floats:
    """A column as float64 (rows,), NaN where it is null."""
    return np.asarray(table[column].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _rows(snapshot: Snapshot, kind: Kind) -> pa.Table:
    """What the points are made of: the trials by uid, or the reports."""
    trials = snapshot.trials
    return trials.take(pc.sort_indices(trials["uid"])) if kind == "final" else snapshot.reports


def _objectives(snapshot: Snapshot, rows: pa.Table) -> dict[str, npt.ArrayLike]:
    return {name: floats(rows, name) for name in snapshot.manifest.goal.names}


def _final(trials: pa.Table) -> Points:
    """Points of trials, by the same rule as `raysys.fronts.front.final_points` has for records."""
    finished = trials["status"].to_numpy() == TrialStatus.FINISHED.value
    counts = finished & (trials["queries"].to_numpy() > 0)
    recipes, row = _recipes(trials), np.arange(len(counts))
    keys = np.where(counts, recipes, len(row) + row)
    _, first, points = np.unique(keys, return_index=True, return_inverse=True)
    return numbered(np.unique(first[points], return_inverse=True)[1], counts)  # in the order of the rows


def _recipes(trials: pa.Table) -> Ints:
    """A number for each trial's recipe, below the number of trials: int64 (rows,)."""
    codes = np.zeros(trials.num_rows, dtype=np.int64)
    for name in RECIPE:
        column = trials[name].combine_chunks().dictionary_encode(null_encoding="encode")
        codes = codes * max(1, len(column.dictionary)) + column.indices.to_numpy()
        codes = np.unique(codes, return_inverse=True)[1]
    return codes


def _anytime(snapshot: Snapshot, reports: pa.Table) -> Points:
    """Points of reports: of trials of one recipe, at the same step, if they are of the same kind."""
    asked = reports["queries"].to_numpy() > 0
    recipes = _recipes(snapshot.trials)
    if len(np.unique(recipes)) == len(recipes):  # nothing to pool, perhaps of a million reports
        each = np.arange(reports.num_rows)
        return Points(each, each, np.ones_like(each), asked)
    of = dict(zip(snapshot.trials["uid"].to_pylist(), recipes.tolist(), strict=True))
    uids = reports["uid"].combine_chunks().dictionary_encode()
    names = uids.dictionary.to_pylist()
    recipe = np.array([of.get(uid, -1 - number) for number, uid in enumerate(names)])[uids.indices]
    steps = reports["step"].to_numpy()
    keys = recipe * (steps.max(initial=0) + 1) + steps
    keys = 4 * keys + 2 * reports["milestone"].to_numpy() + asked
    return numbered(np.unique(keys, return_inverse=True)[1], asked)


def _points(snapshot: Snapshot, front: Front, kind: Kind) -> list[dict[str, Any]]:
    table = points_table(snapshot, front, kind, front.members)
    trials = snapshot.trials
    configs = dict(zip(trials["uid"].to_pylist(), trials["config"].to_pylist(), strict=True))
    # A report is a moment of its trial: what its end reached on test is not its own.
    names = [*SCORES, *(f"{name}_std" for name in SCORES), "seconds"]
    return [
        {
            "uid": row["uid"],
            "queries": int(row["queries"]) if row["queries"].is_integer() else row["queries"],
            **{name: _finite(row.get(name)) for name in names},
            "seeds": row["seeds"],
            "uids": uids,
            "config": json.loads(configs.get(row["uid"], "{}")),
            "knee": bool(member == front.knee),
        }
        for member, row, uids in zip(
            front.members, table.to_pylist(), member_uids(snapshot, front, kind), strict=True
        )
    ]


def _finite(value: float | None) -> float | None:
    """`value`, or None in place of what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None
