"""The trials of a run as a list to look through, and where one of them stands among the others."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.errors import UsageError
from raysys.fronts.objectives import Floats
from raysys.fronts.pareto import layers
from raysys.fronts.points import Bools
from raysys.records import TrialStatus
from raysys.store.points import Kind, floats, member_uids, run_front, varying_parameters
from raysys.store.reader import Snapshot
from raysys.store.schema import PARAMETER, RECIPE

_SCORES = ("val_accuracy", "agreement", "test_accuracy", "test_agreement")

_CONDITION = re.compile(r"\s*([^\s=<>]+)\s*(<=|>=|[=<>])\s*(\S.*?)\s*")
_COMPARED: dict[str, Callable[[Floats, float], Bools]] = {
    "=": np.equal, ">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal,
}  # fmt: skip

_REPORTED = ("queries", "seconds", "val_accuracy", "agreement")

FRONT, KNEE = "front", "knee"
"""What the column `front` says of a trial of the front, and of one at its knee."""


def trial_list(snapshot: Snapshot, kind: Kind = "final") -> pa.Table:
    """One row a trial, by uid.

    Columns: `uid`, `state`, `front` (of `kind`: `FRONT`, `KNEE` or null), `layer` (1 is the final front, 2
    the front once that is taken away, ...; null for trials that take no part), the scores that any trial has
    (in [0, 1]), `queries` (images), `USD` (of the queries charged) where the space has a price, `seconds`,
    `seed`, `param.NAME` of the parameters that differ, and `error`, its first line. See `trials_so_far`.
    """
    trials = trials_so_far(snapshot)
    trials = trials.take(pc.sort_indices(trials["uid"]))
    scores = [name for name in _SCORES if trials[name].null_count < trials.num_rows]
    scores.sort(key=lambda name: name != snapshot.manifest.score)
    columns = {"uid": trials["uid"], "state": trials["status"]}
    columns["front"] = _marks(snapshot, kind, trials["uid"])
    columns["layer"] = _layers(snapshot)
    columns |= {name: trials[name] for name in (*scores[:1], "queries")}
    if price := snapshot.manifest.price:
        columns["USD"] = pc.multiply(trials["queries"].cast(pa.float64()), price)
    columns |= {name: trials[name] for name in ("seconds", *scores[1:], "seed")}
    columns |= {PARAMETER + name: trials[PARAMETER + name] for name in varying_parameters(snapshot)}
    columns["error"] = pc.list_element(pc.split_pattern(trials["error"], "\n", max_splits=1), 0)
    return pa.table(columns)


def trials_so_far(snapshot: Snapshot) -> pa.Table:
    """The trials, where those that have not ended have the queries, seconds and scores of their last report.

    Their own rows tell these at the end only, or of an earlier attempt.
    """
    trials = snapshot.trials
    ended = pa.array([status.value for status in TrialStatus if status.ended])
    going = trials.filter(pc.invert(pc.is_in(trials["status"], ended)))["uid"]
    reports = snapshot.reports.filter(pc.is_in(snapshot.reports["uid"], going.combine_chunks()))
    last = reports.group_by("uid", use_threads=False).aggregate([(name, "last") for name in _REPORTED])
    at = pc.index_in(trials["uid"], last["uid"].combine_chunks())
    for name in _REPORTED:
        told = last[f"{name}_last"].take(at)
        # Counts only grow; a later score may be lower.
        grows = name in ("queries", "seconds")
        known = pc.max_element_wise(told, trials[name]) if grows else pc.coalesce(told, trials[name])
        trials = trials.set_column(trials.column_names.index(name), name, known)
    return trials


def filtered_trials(
    table: pa.Table,
    find: str = "",
    states: Sequence[str] = (),
    seed: int | None = None,
    on_front: bool = False,
    sort: str = "uid",
    descending: bool = False,
) -> pa.Table:
    """The rows of a `trial_list` that hold `find` and are in one of `states` (none: any), sorted.

    `find` is NAME=VALUE (exactly it), NAME>VALUE, NAME<VALUE, >= or <= (numbers) of a column, a parameter
    without its prefix; any other text is looked for in uid, error and parameters. Case does not matter. Rows
    without a value to sort by, or with NaN, come last. Raises UsageError for a comparison that cannot be
    made.
    """
    keep = np.ones(table.num_rows, dtype=np.bool_)
    if find:
        keep &= _found(table, find)
    if states:
        keep &= np.isin(table["state"].to_numpy(), states)
    if seed is not None:
        keep &= table["seed"].to_numpy() == seed
    if on_front:
        keep &= np.asarray(table["front"].is_valid())
    table = table.filter(keep)
    # By uid first: the sort is stable, and equal rows stay by uid.
    order = [(sort, "descending" if descending else "ascending"), ("uid", "ascending")]
    return table.take(pc.sort_indices(table, order if sort in table.column_names else order[1:]))


@dataclass(frozen=True)
class Standing:
    """Where a trial stands among the others that finished, by its own values and not by means over seeds.

    `below`: share in [0, 1] of the `others` (finished trials with a finite score) that have a lower one; None
    where it has no finite one, or there is no other. `dominated_by`, `dominates`: uids of the finished trials
    that are nowhere worse and somewhere better than it, and the other way round; None where it takes no part.
    """

    others: int
    below: float | None
    dominated_by: tuple[str, ...] | None
    dominates: tuple[str, ...] | None


def standing(snapshot: Snapshot, uid: str) -> Standing:
    """Where trial `uid` stands; dominance is among the finished trials within the run's limits."""
    trials = snapshot.trials.take(pc.sort_indices(snapshot.trials["uid"]))
    goal, uids = snapshot.manifest.goal, trials["uid"].to_numpy()
    finished = trials["status"].to_numpy() == TrialStatus.FINISHED.value
    (own,) = np.flatnonzero(uids == uid)
    reached = floats(trials, goal.score)
    others = reached[finished & np.isfinite(reached) & (uids != uid)]
    below = float(np.mean(others < reached[own])) if len(others) and np.isfinite(reached[own]) else None
    costs = goal.costs(np.stack([floats(trials, name) for name in goal.names], axis=1))
    costs[~finished | (trials["queries"].to_numpy() == 0)] = np.nan
    if not np.isfinite(costs[own]).all():
        return Standing(len(others), below, None, None)
    better = (costs <= costs[own]).all(axis=1) & (costs < costs[own]).any(axis=1)
    worse = (costs >= costs[own]).all(axis=1) & (costs > costs[own]).any(axis=1)
    return Standing(len(others), below, tuple(uids[better].tolist()), tuple(uids[worse].tolist()))


def siblings(snapshot: Snapshot, uid: str) -> list[str]:
    """Uids of the other trials of the same recipe: they differ from `uid` by their seed only."""
    trials = snapshot.trials
    own = trials.filter(pc.equal(trials["uid"], uid)).select(RECIPE).to_pylist()[0]
    same = pc.not_equal(trials["uid"], uid)
    for name, value in own.items():
        same = pc.and_(same, pc.equal(trials[name], value))
    return sorted(trials.filter(same)["uid"].to_pylist())


def _marks(snapshot: Snapshot, kind: Kind, uids: pa.ChunkedArray) -> pa.Array:
    front = run_front(snapshot, kind)
    marks: dict[str, str] = {}
    for member, members in zip(front.members, member_uids(snapshot, front, kind), strict=True):
        for uid in members:
            if marks.get(uid) != KNEE:
                marks[uid] = KNEE if member == front.knee else FRONT
    return pa.array([marks.get(uid) for uid in uids.to_pylist()], pa.string())


def _layers(snapshot: Snapshot) -> pa.Array:
    """By uid: the layer of the point that each trial belongs to."""
    trials = snapshot.trials.take(pc.sort_indices(snapshot.trials["uid"]))
    points, goal = run_front(snapshot).points, snapshot.manifest.goal
    costs = goal.costs(points.values(goal, {name: floats(trials, name) for name in goal.names}))
    part = np.asarray(np.isfinite(costs).all(axis=1))
    return pa.array((layers(costs) + 1)[points.of], mask=~part[points.of])


def _found(table: pa.Table, find: str) -> Bools:
    """Which rows (n,) hold `find`. Raises UsageError."""
    condition = _CONDITION.fullmatch(find)
    name, sign, value = condition.groups() if condition else ("", "", "")
    column = {one.removeprefix(PARAMETER).lower(): one for one in table.column_names}.get(name.lower())
    if column is None and sign in ("", "="):  # as an error may say
        return np.asarray(pc.match_substring(_words(table), find, ignore_case=True))
    hint = "compare one column, as in NAME=VALUE, NAME>NUMBER or NAME<NUMBER"
    if column is None:
        raise UsageError(f"no column is called {name!r}", "what is the same in all trials has none", hint)
    kind = table[column].type
    number = not (pa.types.is_string(kind) or pa.types.is_boolean(kind))
    if not number:
        if sign != "=":
            raise UsageError(f"{name} has no order", "its values are words", hint)
        same = pc.equal(pc.utf8_lower(table[column].cast(pa.string())), value.lower())
        return np.asarray(same.fill_null(False))
    try:
        limit = float(value)
    except ValueError:
        raise UsageError(f"{value!r} is no number", f"the values of {name} are", hint) from None
    return _COMPARED[sign](floats(table, column), limit)


def _words(table: pa.Table) -> pa.Array:
    """All that one may look for in a row, as one text."""
    parameters = [
        pc.binary_join_element_wise(name.removeprefix(PARAMETER), table[name].cast(pa.string()), "=")
        for name in table.column_names
        if name.startswith(PARAMETER)
    ]
    texts = [table["uid"], table["error"], *parameters]
    return pc.binary_join_element_wise(*texts, " ", null_handling="skip").combine_chunks()
