import math

import pytest
from search_runs import SPACE, Options, by_passes, ended, finished

from raysys.records import TrialStatus
from raysys.search.importance import importances, values_of


def test_the_parameter_that_decides_ranks_first() -> None:
    found = importances(SPACE, finished(60))
    accuracy, queries = found["val_accuracy"].shares, found["queries"].shares
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

    shares = importances(SPACE, finished(100, accuracy))["val_accuracy"].shares
    assert sorted(shares, key=shares.__getitem__)[-2:] == ["optimizer", "lr_sgd"]


def test_ties_are_all_among_the_best() -> None:
    """`passes` has five values and decides alone: its best fifth is tied."""
    records = finished(50, lambda options: options["passes"] / 20)
    found = importances(SPACE, records)["val_accuracy"]
    assert found.best == sum(record.val_accuracy == 1 for record in records) > 5
    assert max(found.shares, key=found.shares.__getitem__) == "passes"


def test_nothing_is_said_of_an_objective_that_does_not_vary() -> None:
    found = importances(SPACE, finished(20, lambda _: 0.5))
    assert not found["val_accuracy"].shares
    assert found["val_accuracy"].why == "no finished trial is worse than the best ones"
    assert found["queries"].shares


def test_only_finished_trials_with_finite_objectives_count() -> None:
    records = finished(12)
    others = [ended(12, TrialStatus.STOPPED), ended(13, TrialStatus.FINISHED, val_accuracy=math.nan)]
    assert importances(SPACE, [*records, *others]) == importances(SPACE, records)
    assert importances(SPACE, records)["queries"].trials == 12


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_few_trials_are_said_to_be_too_few(count: int) -> None:
    found = importances(SPACE, [*finished(count), ended(count, TrialStatus.FAILED)])
    assert found["queries"].why == f"needs 10 finished trials, there are {count}"
    assert not found["queries"].shares


def test_few_trials_are_compared_with_the_best_five() -> None:
    distinct = finished(20, lambda options: by_passes(options) + options["query_budget"] / 1e6)
    assert importances(SPACE, distinct)["val_accuracy"].best == 5


def test_a_space_without_parameters_has_nothing_to_rank() -> None:
    fixed = SPACE.model_copy(update={"parameters": {}})
    assert importances(fixed, finished(12))["val_accuracy"].shares == {}


def test_values_are_of_the_trials_where_a_parameter_is_active() -> None:
    values = values_of(SPACE, [ended(0, TrialStatus.FINISHED), ended(1, TrialStatus.FINISHED)])
    assert values["optimizer"] == ["sgd", "sgd"]
    assert values["lr_sgd"] == [0.1, 0.1]
    assert values["lr_adamw"] == []
