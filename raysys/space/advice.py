"""What the values on the front say of a parameter's range."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from raysys.space.importance import Floats
from raysys.space.schema import Categorical, FloatRange, IntRange, Parameter

LEAST_POINTS = 8
"""With fewer points on the front nothing is advised."""

_EDGE = 0.1
"""The share of a range, on the scale it is drawn on, at each end that is its bound."""


@dataclass(frozen=True)
class Advice:
    """What to do with a range before the next search, and why; the bound at which half of the front lies."""

    do: Literal["narrow", "extend", "keep"]
    why: str
    at_bound: Literal["", "low", "high"] = ""


def advice(parameter: Parameter, front: Floats) -> Advice:
    """Advice from a parameter's values on the front (k,): numbers, or positions among the choices; no NaN.

    Narrow: the front lies in half of the range, or leaves choices out. Extend: half of it lies at a bound.
    """
    if len(parameter.probes()) < 2:
        return Advice("keep", "it has one value")
    bound = "" if isinstance(parameter, Categorical) else _bound(parameter, front)
    if len(front) < LEAST_POINTS:
        return Advice("keep", f"{len(front)} points on the front have it, {LEAST_POINTS} are needed", bound)
    if isinstance(parameter, Categorical):
        return _of_choices(parameter, front)
    if bound:
        low = bound == "low"
        end, beyond = (parameter.low, "below") if low else (parameter.high, "above")
        why = f"half of the front lies at or near {end:g}: {beyond} it may be better, if that makes sense"
        return Advice("extend", why, bound)
    middle = np.quantile(front, [0.05, 0.95])
    if np.ptp(_scaled(parameter, middle)) <= 0.5:
        return Advice("narrow", f"nine tenths of the front have {middle[0]:.4g} to {middle[1]:.4g}")
    return Advice("keep", "the front is spread over the range")


def grid_values(parameter: IntRange | FloatRange) -> float:
    """How many values a range has; inf where it has no step."""
    return (
        math.inf if parameter.step is None else 1 + round((parameter.high - parameter.low) / parameter.step)
    )


def _of_choices(parameter: Categorical, front: Floats) -> Advice:
    """A choice is left out where each would be expected on so many points that none cannot be by chance."""
    counts = np.bincount(front.astype(np.int64), minlength=len(parameter.choices))
    absent = [str(choice) for choice, n in zip(parameter.choices, counts, strict=True) if not n]
    if absent and len(front) / len(counts) >= LEAST_POINTS / 2:
        return Advice("narrow", f"none of {len(front)} points on the front has {', '.join(absent)}")
    return Advice("keep", "no choice is missing for sure" if absent else "the front has all choices")


def _bound(parameter: IntRange | FloatRange, front: Floats) -> Literal["", "low", "high"]:
    """Where at least half of the front lies; more where there are so few values that it might by chance."""
    scaled = _scaled(parameter, front)
    least = max(0.5, 2 / grid_values(parameter))
    if len(front) and np.mean(scaled <= _EDGE) >= least:
        return "low"
    return "high" if len(front) and np.mean(scaled >= 1 - _EDGE) >= least else ""


def _scaled(parameter: IntRange | FloatRange, values: Floats) -> Floats:
    """Values as shares of the range, on the scale it is drawn on."""
    if parameter.log:
        return np.asarray(np.log(values / parameter.low) / math.log(parameter.high / parameter.low))
    return np.asarray((values - parameter.low) / (parameter.high - parameter.low))
