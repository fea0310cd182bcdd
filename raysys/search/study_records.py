"""A run's trials as Optuna knows them: a study to look at, to go on from, or to put into a file."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from raysys.errors import CorruptRunError
from raysys.fronts.objectives import score
from raysys.records import Scalar, TrialRecord, TrialStatus
from raysys.search.samplers import distribution
from raysys.space.schema import Space
from raysys.space.trial_config import searched_values


def study_of(
    space: Space,
    records: Iterable[TrialRecord],
    limits: Mapping[str, float],
    name: str | None = None,
    storage: BaseStorage | None = None,
) -> Study:
    """A new study of the trials that have ended, by uid; in memory unless a storage is given.

    Raises CorruptRunError when a trial's config does not fit the space.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name, storage=storage, directions=[one.direction for one in space.objectives]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([one.name for one in space.objectives])
    for record in sorted(records, key=lambda record: (len(record.uid), record.uid)):
        if not record.status.ended:
            continue
        try:
            study.add_trial(frozen_trial(space, record, limits))
        except (KeyError, ValueError) as failure:
            why = f"it was made with another space: {failure}"
            raise CorruptRunError(f"the config of trial {record.uid} does not fit the space", why) from None
    return study


def frozen_trial(space: Space, record: TrialRecord, limits: Mapping[str, float]) -> FrozenTrial:
    """A trial that has ended, with its active parameters only.

    It is COMPLETE when it finished with all objectives, PRUNED when it was stopped, else FAIL. Beyond one of
    the `limits` (see `constraints`) it is infeasible. Optuna's times are those of this call. Raises KeyError,
    ValueError when the config does not fit the space.
    """
    reached = objective_values(space, vars(record))
    if record.status is TrialStatus.FINISHED and all(map(math.isfinite, reached)):
        state = TrialState.COMPLETE
    else:
        state = TrialState.PRUNED if record.status is TrialStatus.STOPPED else TrialState.FAIL
    told: dict[str, Scalar] = {"uid": record.uid, "seed": record.config.seed, "queries": record.queries}
    return frozen(
        space,
        searched_values(space, record.config.options),
        state,
        reached if state is TrialState.COMPLETE else None,
        limits,
        told | ({"error": record.error} if record.error else {}),
    )


def frozen(
    space: Space,
    values: Mapping[str, Scalar],
    state: TrialState,
    reached: Sequence[float] | None,
    limits: Mapping[str, float],
    attributes: Mapping[str, Scalar] | None = None,
) -> FrozenTrial:
    """Optuna's trial of these parameter values; what it `reached`, by objective, where it is COMPLETE."""
    return create_trial(
        state=state,
        values=reached,
        params=dict(values),
        distributions={name: distribution(space.parameters[name]) for name in values},
        user_attrs=dict(attributes or {}),
        constraints=None if reached is None else constraints(space, reached, limits),
    )


def objective_values(space: Space, told: Mapping[str, Any]) -> list[float]:
    """The objectives' values, in their order; NaN where one is missing or not finite."""
    values = [told.get(one.name) for one in space.objectives]
    return [math.nan if value is None or not math.isfinite(value) else float(value) for value in values]


def least_and_most(space: Space, floor: float) -> dict[str, float]:
    """The space's limits by objective, where what ranks the students must reach the `floor` at least."""
    ranked = score(str(one.name) for one in space.objectives)
    return {**space.bounds, ranked: max(floor, space.bounds.get(ranked, floor))}


def constraints(space: Space, reached: Sequence[float], limits: Mapping[str, float]) -> dict[str, float]:
    """By objective with a limit, how far it is beyond that: at most 0 is feasible.

    A limit is the least of what is maximised, and the most of what is minimised.
    """
    return {
        str(one.name): (value - limits[one.name]) * (1 if one.direction == "minimize" else -1)
        for one, value in zip(space.objectives, reached, strict=True)
        if one.name in limits
    }
