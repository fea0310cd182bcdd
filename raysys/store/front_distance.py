"""How far a trial's parameters lie from those of the front."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError

from raysys.records import Scalar
from raysys.space.schema import FloatRange, IntRange, Parameter
from raysys.store.parameters import prior_text
from raysys.store.points import run_front, varying_parameters
from raysys.store.reader import Snapshot

_PARAMETERS: TypeAdapter[dict[str, Parameter]] = TypeAdapter(dict[str, Parameter])


def front_distances(snapshot: Snapshot, uid: str) -> pa.Table:
    """One row for each parameter that differs between the trials and that trial `uid` has, by name.

    `value` and `front` (the median over the points of the final front that have it; of words the most
    frequent) as text; `distance` from it in units of the declared `range`, on its scale (log where it is
    drawn so), null for choices and where nothing is declared; `n`: how many points of the front have it.
    """
    trials = snapshot.trials.take(pc.sort_indices(snapshot.trials["uid"]))
    options = dict(zip(trials["uid"].to_pylist(), trials["config"].to_pylist(), strict=True))
    own: dict[str, Scalar] = json.loads(options[uid])
    front = run_front(snapshot)
    members = trials["uid"].take(front.points.first[front.members]).to_pylist()
    on_front = [json.loads(options[member]) for member in members]
    declared = _declared(snapshot)
    rows = []
    for name in varying_parameters(snapshot):
        if name not in own:
            continue
        told = [one[name] for one in on_front if name in one]
        rows.append({"parameter": name, **_row(own[name], told, _range(declared, name, own))})
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


_SCHEMA = pa.schema(
    [
        ("parameter", pa.string()),
        ("value", pa.string()),
        ("front", pa.string()),
        ("distance", pa.float64()),
        ("range", pa.string()),
        ("n", pa.int64()),
    ]
)


def _row(value: Scalar, told: list[Scalar], declared: Parameter | None) -> dict[str, Any]:
    row = {"value": _text(value), "n": len(told), "range": None, "front": None, "distance": None}
    if declared is not None:
        row["range"] = prior_text(declared.model_dump())
    if not told:
        return row
    numbers = [one for one in (value, *told) if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) <= len(told):  # words among them
        return row | {"front": Counter(map(_text, told)).most_common(1)[0][0]}
    median = float(np.median(numbers[1:]))
    row["front"] = _text(median)
    if isinstance(declared, IntRange | FloatRange) and declared.low < declared.high:
        low, high, at, middle = (
            _scaled(x, declared.log) for x in (declared.low, declared.high, numbers[0], median)
        )
        row["distance"] = (at - middle) / (high - low)
    return row


def _scaled(value: float, log: bool) -> float:
    return math.log(value) if log and value > 0 else value


def _text(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _declared(snapshot: Snapshot) -> dict[str, Parameter]:
    """The parameters of the run's space; none where they are of another raysys."""
    try:
        return _PARAMETERS.validate_python(snapshot.manifest.space.get("parameters", {}))
    except ValidationError:
        return {}


def _range(declared: Mapping[str, Parameter], option: str, own: Mapping[str, Scalar]) -> Parameter | None:
    """The range, or the choices, from which a trial with the options `own` drew `option`."""
    for name, parameter in declared.items():
        if (parameter.option or name) != option:
            continue
        drawn = {key: declared[key].option or key if key in declared else key for key in parameter.when}
        if all(source in own and parameter.allows(key, own[source]) for key, source in drawn.items()):
            return parameter
    return None
