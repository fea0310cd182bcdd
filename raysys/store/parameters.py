"""What a run searched: the values of its parameters in the finished trials, and what they decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raysys.errors import CorruptRunError
from raysys.fronts.objectives import Floats
from raysys.fronts.points import Ints
from raysys.records import Scalar
from raysys.space.advice import advice
from raysys.space.importance import importance
from raysys.space.load import from_json
from raysys.space.schema import Categorical, Parameter, Space
from raysys.store.points import finished_trials, floats, member_uids, run_front
from raysys.store.reader import Snapshot
from raysys.store.schema import PARAMETER

Bools = npt.NDArray[np.bool_]

_NUMBER = r"^[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$"


@dataclass(frozen=True)
class Searched:
    """The finished trials (n,) with all objectives, and the values of the parameters in them.

    `values` by parameter, float64 (n,): numbers, or positions among the choices; NaN where a condition leaves
    the parameter out. `reached` by objective, float64 (n,); `score` is the one that ranks students. `front`:
    trials of the final front's points; `points`: one of each, as further seeds have the same values.
    `left_out` counts finished trials with an objective that is not finite.
    """

    parameters: Mapping[str, Parameter]
    values: Mapping[str, Floats]
    reached: Mapping[str, Floats]
    score: str
    uids: npt.NDArray[np.object_]
    front: Bools
    points: Bools
    left_out: int

    def varying(self) -> list[str]:
        """The parameters with different values in these trials."""
        return [name for name, values in self.values.items() if len(np.unique(values[~np.isnan(values)])) > 1]


def searched(snapshot: Snapshot) -> Searched:
    """What a run searched.

    Raises SpaceError when its manifest has no whole space, CorruptRunError when a trial does not fit it.
    """
    space = from_json(snapshot.manifest.space)
    finished = finished_trials(snapshot)
    names = snapshot.manifest.goal.names
    reached = np.array([floats(finished, name) for name in names])
    told = np.isfinite(reached).all(axis=0)
    trials = finished.filter(pa.array(told))
    uids = np.array(trials["uid"].to_pylist(), dtype=object)
    members = member_uids(snapshot, run_front(snapshot))
    return Searched(
        parameters=space.parameters,
        values=values_of(space, trials),
        reached=dict(zip(names, reached[:, told], strict=True)),
        score=snapshot.manifest.score,
        uids=uids,
        front=np.isin(uids, [uid for uids in members for uid in uids]),
        points=np.isin(uids, [uids[0] for uids in members]),
        left_out=int((~told).sum()),
    )


def values_of(space: Space, trials: pa.Table) -> dict[str, Floats]:
    """By parameter, in the space's order, its values in the trials, as `Searched.values`.

    Raises CorruptRunError when a trial has no value, or one that could not be drawn, of an active parameter.
    """
    values: dict[str, Floats] = {}
    for name, parameter in space.ordered():
        column = PARAMETER + space.option(name)
        known = trials[column] if column in trials.column_names else pa.nulls(trials.num_rows, pa.float64())
        active = np.ones(trials.num_rows, dtype=np.bool_)
        for key in parameter.when:
            if key in values:
                active &= _allowed(parameter, key, space.parameters[key], values[key])
            elif not parameter.allows(key, space.options[key]):
                active[:] = False
        values[name] = np.where(active, _numbers(parameter, known), np.nan)
        if len(strange := np.flatnonzero(active & np.isnan(values[name]))):
            raise CorruptRunError(
                f"the config of trial {trials['uid'][strange[0]]} does not fit the space",
                f"{name} is {known[strange[0]].as_py()!r}: it was made with another space",
            )
    return {name: values[name] for name in space.parameters}


def importance_json(snapshot: Snapshot) -> dict[str, Any]:
    """What decides each objective, as the JSON object of `raysys importance --json`.

    `parameters` are by falling importance for the score; their `front` is of the final front's points.
    Raises SpaceError, CorruptRunError as `searched` does.
    """
    run, goal = searched(snapshot), snapshot.manifest.goal
    signs = {one.name: 1 if one.direction == "minimize" else -1 for one in goal.objectives}
    found = {
        name: importance(run.parameters, run.values, signs[name] * reached)
        for name, reached in run.reached.items()
    }
    rows: list[dict[str, Any]] = []
    for name, parameter in run.parameters.items():
        front = run.values[name][run.points]
        front = front[~np.isnan(front)]
        advised = advice(parameter, front)
        rows.append(
            {
                "name": name,
                "importance": {objective: one.shares.get(name) for objective, one in found.items()},
                "trials": int((~np.isnan(run.values[name])).sum()),
                "prior": parameter.model_dump(exclude={"option", "when"}),
                "front": _summary(parameter, front),
                "at_bound": advised.at_bound,
                "advice": advised.do,
                "why": advised.why,
            }
        )
    rows.sort(key=lambda one: -(one["importance"][goal.score] or 0))
    objectives = {
        name: {"trials": one.trials, "best": one.best, "why": one.why} for name, one in found.items()
    }
    return {"run": snapshot.path, "objectives": objectives, "parameters": rows}


def ends(parameter: Parameter) -> tuple[float, float]:
    """The ends of a range on its scale."""
    if isinstance(parameter, Categorical):
        return 0.0, len(parameter.choices) - 1.0
    low, high = float(parameter.low), float(parameter.high)
    return (float(np.log10(low)), float(np.log10(high))) if parameter.log else (low, high)


def values_table(run: Searched, names: Sequence[str], rows: Ints) -> pa.Table:
    """Some finished trials with their objectives and these parameters, null where a trial is without one.

    The best score comes first.
    """
    rows = rows[np.argsort(-run.reached[run.score][rows], kind="stable")]
    columns: dict[str, Any] = {"uid": run.uids[rows].tolist(), "on the front": run.front[rows]}
    columns |= {objective: reached[rows] for objective, reached in run.reached.items()}
    for name in names:
        parameter, values = run.parameters[name], run.values[name][rows]
        if isinstance(parameter, Categorical):
            told = [None if np.isnan(one) else str(parameter.choices[int(one)]) for one in values]
            columns[name] = pa.array(told, pa.string())
        else:
            columns[name] = pa.array(values, mask=np.isnan(values))
    return pa.table(columns)


def short(value: float) -> str:
    """A number to three digits, without an exponent where it can be."""
    return f"{float(f'{value:.3g}'):g}"


def prior_text(prior: dict[str, Any]) -> str:
    """A parameter's range or choices."""
    if "choices" in prior:
        return ", ".join(map(str, prior["choices"]))
    return f"{prior['low']:g} .. {prior['high']:g}" + (" log" if prior["log"] else "")


def front_text(parameter: dict[str, Any]) -> str:
    """Its values on the front: how often each choice, or the median between the 5 and the 95 % quantile."""
    front, prior = parameter["front"], parameter["prior"]
    if front is None:
        return "-"
    if "counts" in front:
        told = zip(prior["choices"], front["counts"], strict=True)
        return ", ".join(f"{choice} x{count}" for choice, count in told if count)
    return " .. ".join(f"{front[key]:.4g}" for key in ("p5", "median", "p95"))


def _numbers(parameter: Parameter, column: pa.ChunkedArray | pa.Array) -> Floats:
    """Values as numbers: a choice as its position; NaN what could not be drawn."""
    if not isinstance(parameter, Categorical):
        if pa.types.is_string(column.type):  # so it is where its type differs between the parts
            column = pc.if_else(pc.match_substring_regex(column, _NUMBER), column, None)
        numbers = np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        return np.where((numbers >= parameter.low) & (numbers <= parameter.high), numbers, np.nan)
    choices = list(enumerate(parameter.choices))
    # A column whose type differs between the parts is text.
    positions: dict[Scalar, int] = {str(choice).lower(): position for position, choice in choices}
    positions |= {str(choice): position for position, choice in choices}
    positions |= {choice: position for position, choice in choices}
    return np.array([positions.get(value, np.nan) for value in column.to_pylist()], dtype=np.float64)


def _allowed(parameter: Parameter, key: str, other: Parameter, values: Floats) -> Bools:
    """Where the values of the parameter `key` meet the condition of `parameter` on it."""
    if isinstance(other, Categorical):
        allowed = [place for place, one in enumerate(other.choices) if parameter.allows(key, one)]
        return np.isin(values, allowed)
    return np.isin(values, [one for one in np.unique(values) if parameter.allows(key, one)])


def _summary(parameter: Parameter, front: Floats) -> dict[str, Any] | None:
    """What values a parameter took: how often each choice, in their order; or quantiles."""
    if not len(front):
        return None
    if isinstance(parameter, Categorical):
        return {"counts": np.bincount(front.astype(np.int64), minlength=len(parameter.choices)).tolist()}
    low, most = np.quantile(front, [0.05, 0.95])
    number = int if parameter.type == "int" else float
    return {
        "low": number(front.min()),
        "p5": float(low),
        "median": number(median_low(front)),
        "p95": float(most),
        "high": number(front.max()),
    }
