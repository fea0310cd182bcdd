import math

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from search_runs import SPACE, ended, finished

from raysys.errors import CorruptRunError
from raysys.records import TrialStatus
from raysys.search.study_records import distribution, frozen_trial, least_and_most, study_of


def test_a_distribution_is_the_parameters_range() -> None:
    found = {name: distribution(parameter) for name, parameter in SPACE.parameters.items()}
    assert found == {
        "query_budget": IntDistribution(100, 4000, log=True),
        "optimizer": CategoricalDistribution(["sgd", "adamw"]),
        "lr_sgd": FloatDistribution(1e-3, 1.0, log=True),
        "lr_adamw": FloatDistribution(1e-4, 0.1, log=True),
        "passes": IntDistribution(0, 20, step=5),
        "mixup": FloatDistribution(0.0, 1.0, step=0.25),
    }


def test_a_trial_has_its_active_parameters_only() -> None:
    trial = frozen_trial(SPACE, ended(3, TrialStatus.FINISHED), {})
    assert trial.params == {
        "query_budget": 500,
        "optimizer": "sgd",
        "lr_sgd": 0.1,
        "passes": 5,
        "mixup": 0.5,
    }
    assert trial.distributions.keys() == trial.params.keys()
    assert trial.values == [0.8, 500.0]
    assert trial.user_attrs == {"uid": "u00003", "seed": 3, "queries": 500}


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (ended(0, TrialStatus.FINISHED), TrialState.COMPLETE),
        (ended(0, TrialStatus.FINISHED, val_accuracy=None), TrialState.FAIL),
        (ended(0, TrialStatus.FINISHED, val_accuracy=math.nan), TrialState.FAIL),
        (ended(0, TrialStatus.STOPPED), TrialState.PRUNED),
        (ended(0, TrialStatus.FAILED), TrialState.FAIL),
    ],
)
def test_only_what_finished_with_finite_objectives_has_values(record, state) -> None:
    trial = frozen_trial(SPACE, record, {"val_accuracy": 0.5})
    assert trial.state is state
    assert (trial.values is None) is (state is not TrialState.COMPLETE)


@pytest.mark.parametrize(("floor", "least"), [(0.15, 0.6), (0.7, 0.7)])
def test_students_must_reach_the_floor_and_the_limit(floor, least) -> None:
    space = SPACE.model_copy(update={"limits": {"val_accuracy": 0.6, "queries": 1000}})
    assert least_and_most(space, floor) == {"val_accuracy": least, "queries": 1000}
    assert least_and_most(SPACE, floor) == {"val_accuracy": floor}


def test_a_trial_beyond_a_limit_is_infeasible() -> None:
    limits = {"val_accuracy": 0.6, "queries": 1000.0}
    good = frozen_trial(SPACE, ended(0, TrialStatus.FINISHED, val_accuracy=0.6, queries=1000), limits)
    assert good.constraints == {"val_accuracy": 0, "queries": 0}
    costly = frozen_trial(SPACE, ended(0, TrialStatus.FINISHED, queries=1001), limits)
    assert costly.constraints["queries"] == 1
    weak = ended(1, TrialStatus.FINISHED, val_accuracy=0.5, queries=10)
    study = study_of(SPACE, [weak, ended(0, TrialStatus.FINISHED)], limits)
    assert [trial.user_attrs["uid"] for trial in study.best_trials] == ["u00000"]


def test_a_study_holds_what_has_ended_in_the_order_of_uids() -> None:
    records = [
        ended(2, TrialStatus.STOPPED),
        ended(1, TrialStatus.RUNNING),
        ended(3, TrialStatus.INTERRUPTED),
        ended(0, TrialStatus.FAILED, error="boom"),
    ]
    study = study_of(SPACE, records, {}, name="first")
    assert study.study_name == "first"
    assert study.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert study.metric_names == ["val_accuracy", "queries"]
    assert [trial.user_attrs["uid"] for trial in study.trials] == ["u00000", "u00002"]
    assert study.trials[0].user_attrs["error"] == "boom"


def test_optuna_finds_the_same_front() -> None:
    records = finished(40)
    best = {trial.user_attrs["uid"] for trial in study_of(SPACE, records, {}).best_trials}
    points = {record.uid: (record.queries, -(record.val_accuracy or 0)) for record in records}
    beaten = {
        uid
        for uid, (queries, cost) in points.items()
        if any(q <= queries and c <= cost and (q, c) != (queries, cost) for q, c in points.values())
    }
    assert best == points.keys() - beaten


def test_a_config_of_another_space_is_refused() -> None:
    other = SPACE.model_copy(update={"parameters": {"g_steps": SPACE.parameters["passes"]}})
    with pytest.raises(CorruptRunError, match="the config of trial u00000 does not fit the space"):
        study_of(other, finished(1), {})
    narrow = SPACE.parameters["query_budget"].model_copy(update={"low": 600})
    other = SPACE.model_copy(update={"parameters": {**SPACE.parameters, "query_budget": narrow}})
    with pytest.raises(CorruptRunError, match="u00004 does not fit"):
        study_of(other, [ended(4, TrialStatus.FINISHED)], {})
