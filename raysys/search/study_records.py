"""A run's trials as Optuna knows them: a study to look at, to go on from, or to put into a file."""

import math
import warnings
from collections.abc import Iterable, Mapping

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from raysys.errors import CorruptRunError
from raysys.records import TrialRecord, TrialStatus
from raysys.search.samplers import distribution
from raysys.space.schema import Objective, Space
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

    It is COMPLETE when it finished with all objectives, PRUNED when it was stopped, else FAIL. `limits`, by
    objectives' names, are the least of what is maximised and the most of what is minimised: beyond one, the
    trial is infeasible. Optuna's times are those of this call. Raises KeyError, ValueError when the config
    does not fit the space.
    """
    values = searched_values(space, record.config.options)
    objectives = {str(one.name): getattr(record, one.name) for one in space.objectives}
    known = {key: float(value) for key, value in objectives.items() if value is not None}
    complete = len(known) == len(objectives) and all(map(math.isfinite, known.values()))
    if record.status is TrialStatus.FINISHED and complete:
        state = TrialState.COMPLETE
    else:
        state = TrialState.PRUNED if record.status is TrialStatus.STOPPED else TrialState.FAIL
    attributes = {"uid": record.uid, "seed": record.config.seed, "queries": record.queries}
    return create_trial(
        state=state,
        values=list(known.values()) if state is TrialState.COMPLETE else None,
        params=values,
        distributions={name: distribution(space.parameters[name]) for name in values},
        user_attrs=attributes | ({"error": record.error} if record.error else {}),
        constraints=_constraints(space.objectives, known, limits) if state is TrialState.COMPLETE else None,
    )


def _constraints(
    objectives: Iterable[Objective], values: Mapping[str, float], limits: Mapping[str, float]
) -> dict[str, float]:
    """By objective, how far it is beyond its limit: at most 0 is feasible."""
    signs = {str(one.name): 1 if one.direction == "minimize" else -1 for one in objectives}
    return {name: signs[name] * (values[name] - limit) for name, limit in limits.items()}
