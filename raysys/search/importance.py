"""Which parameters decide each objective (PED-ANOVA), and the values that trials took."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from raysys.records import Scalar, TrialRecord
from raysys.search.study_records import study_of
from raysys.space.schema import Space
from raysys.space.trial_config import searched_values

LEAST_TRIALS = 10
"""With fewer finished trials nothing is said of importance."""

LEAST_BEST = 5
"""The best trials are a tenth of all, but at least so many, as Optuna advises."""


@dataclass(frozen=True)
class Importance:
    """How much each parameter decides whether a trial is among the `best` of `trials`: shares of 1.

    Where nothing can be said, `shares` is empty and `why` tells.
    """

    trials: int
    best: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    why: str = ""


def importances(space: Space, records: Sequence[TrialRecord]) -> dict[str, Importance]:
    """By objective, the importance of the parameters over the finished trials.

    PED-ANOVA (arXiv 2304.10255) compares the values of a parameter in the best trials with those in all of
    them; ties with the last of the best are among the best. Where a condition leaves the parameter out of
    some trials, the others are compared, and that counts a**2 / b times, for their shares a of the best and
    b of all trials (conditional PED-ANOVA, arXiv 2601.20800). A parameter that no finished trial had has no
    share. Raises CorruptRunError when a trial's config does not fit the space.
    """
    study = study_of(space, records, {})
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    found = {}
    for column, objective in enumerate(space.objectives):
        sign = 1 if objective.direction == "minimize" else -1
        costs = {trial.number: sign * trial.values[column] for trial in trials}
        found[str(objective.name)] = _importance(study, costs)
    return found


def values_of(space: Space, records: Sequence[TrialRecord]) -> dict[str, list[Scalar]]:
    """By parameter, its values in the trials where it is active, in the trials' order."""
    active = [searched_values(space, record.config.options) for record in records]
    return {name: [values[name] for values in active if name in values] for name in space.parameters}


def _importance(study: Study, costs: Mapping[int, float]) -> Importance:
    """Importance for what each COMPLETE trial costs, by its number: less is better."""
    count = len(costs)
    if count < LEAST_TRIALS:
        return Importance(count, why=f"needs {LEAST_TRIALS} finished trials, there are {count}")
    quantile = max(0.1, (LEAST_BEST - 0.5) / count)  # rounded up to a whole number of trials
    bound = sorted(costs.values())[math.ceil(quantile * count) - 1]
    best = sum(cost <= bound for cost in costs.values())
    if best == count:
        return Importance(count, why="no finished trial is worse than the best ones")

    def target(trial: FrozenTrial) -> float:
        return costs[trial.number]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that less is better, that few trials had a parameter
        shares = get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile), target=target
        )
    return Importance(count, best, shares)
