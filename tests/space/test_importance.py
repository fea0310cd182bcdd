import math
import warnings

import numpy as np
import pytest
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from search_runs import SPACE, Options, by_passes, finished

from raysys.records import TrialRecord
from raysys.search.study_records import study_of
from raysys.space.importance import Importance, importance
from raysys.store.parameters import values_of
from raysys.store.schema import trials_table


def costs(records: list[TrialRecord], objective: str) -> np.ndarray:
    sign = -1 if objective == "val_accuracy" else 1
    return np.array([sign * getattr(record, objective) for record in records], dtype=np.float64)


def importance_of(records: list[TrialRecord], objective: str) -> Importance:
    values = values_of(SPACE, trials_table(records))
    return importance(SPACE.parameters, values, costs(records, objective))


@pytest.mark.parametrize("objective", ["val_accuracy", "queries"])
@pytest.mark.parametrize("count", [12, 60, 300])
def test_it_is_what_optuna_says(count: int, objective: str) -> None:
    records = finished(count)
    costly = costs(records, objective)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that less is better, that few trials had a parameter
        told = get_param_importances(
            study_of(SPACE, records, {}),
            evaluator=PedAnovaImportanceEvaluator(target_quantile=max(0.1, 4.5 / count)),
            target=lambda trial: costly[trial.number],
        )
    assert importance_of(records, objective).shares == pytest.approx(told)


def test_the_parameter_that_decides_ranks_first() -> None:
    records = finished(60)
    accuracy, queries = (importance_of(records, name).shares for name in ("val_accuracy", "queries"))
    assert max(accuracy, key=accuracy.__getitem__) == "passes"
    assert accuracy["passes"] > 0.5
    assert max(queries, key=queries.__getitem__) == "query_budget"
    assert queries["query_budget"] > 0.5
    for shares in (accuracy, queries):
        assert sum(shares.values()) == pytest.approx(1)
        assert shares.keys() == SPACE.parameters.keys()


def test_a_parameter_with_a_condition_can_be_the_one_that_decides() -> None:
    """Only sgd with a small step works: that counts for the step among the trials that have it."""

    def accuracy(options: Options) -> float:
        return 0.9 - options["lr"] if options["optimizer"] == "sgd" and options["lr"] < 0.01 else 0.1

    shares = importance_of(finished(100, accuracy), "val_accuracy").shares
    assert sorted(shares, key=shares.__getitem__)[-2:] == ["optimizer", "lr_sgd"]


def test_ties_are_all_among_the_best() -> None:
    """`passes` has five values and decides alone: its best fifth is tied."""
    records = finished(50, lambda options: options["passes"] / 20)
    found = importance_of(records, "val_accuracy")
    assert found.best == sum(record.val_accuracy == 1 for record in records) > 5
    assert max(found.shares, key=found.shares.__getitem__) == "passes"


def test_nothing_is_said_of_an_objective_that_does_not_vary() -> None:
    records = finished(20, lambda _: 0.5)
    assert not importance_of(records, "val_accuracy").shares
    assert importance_of(records, "val_accuracy").why == "no finished trial is worse than the best ones"
    assert importance_of(records, "queries").shares


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_few_trials_are_said_to_be_too_few(count: int) -> None:
    found = importance_of(finished(count), "queries")
    assert found == Importance(count, why=f"needs 10 finished trials, there are {count}")


def test_few_trials_are_compared_with_the_best_five() -> None:
    distinct = finished(20, lambda options: by_passes(options) + options["query_budget"] / 1e6)
    assert importance_of(distinct, "val_accuracy").best == 5


def test_a_space_without_parameters_has_nothing_to_rank() -> None:
    assert importance({}, {}, np.arange(12.0)).shares == {}


def test_a_parameter_that_one_trial_had_or_that_has_one_value_decides_nothing() -> None:
    records = finished(12)
    values = values_of(SPACE, trials_table(records))
    lonely = np.full(12, math.nan)
    lonely[0] = 0.1
    one = SPACE.parameters["optimizer"].model_copy(update={"choices": ["sgd"]})
    shares = importance(
        {**SPACE.parameters, "lr_sgd": SPACE.parameters["lr_sgd"], "optimizer": one},
        {**values, "lr_sgd": lonely, "optimizer": np.zeros(12)},
        costs(records, "queries"),
    ).shares
    assert shares["lr_sgd"] == shares["optimizer"] == 0
