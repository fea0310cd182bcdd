"""What Ray Tune's own OptunaSearch gets wrong with several objectives, and that our searcher does not.

Each test shows both, with the installed versions. If one fails in its first half, that failure was mended
there: the test may go.
"""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from raysys.records import TrialRecord, TrialStatus
from raysys.search.study_searcher import StudySearcher, Suggestion
from raysys.search.tune_searcher import TuneSearcher
from raysys.space.schema import Space
from raysys.space.trial_config import resolve

SPACE = Space.model_validate(
    {
        "name": "toy",
        "dataset": "digits",
        "teacher": {"architecture": "lenet5", "recipe": {"epochs": 1}},
        "student": "lenet5",
        "parameters": {"lr": {"type": "float", "low": 0.0, "high": 1.0}},
        "points": [{"values": {"lr": 0.5}}],
        "trials": 3,
    }
)
GOALS: dict[str, Any] = {"metric": ["val_accuracy", "queries"], "mode": ["max", "min"]}
GOOD = {"val_accuracy": 0.9, "queries": 1000}
SHORT = {"val_accuracy": 0.3, "queries": 100}
STATUS = {"status": "finished"}


def stock(**changes: Any) -> OptunaSearch:
    arguments: dict[str, Any] = {"space": {"lr": FloatDistribution(0.0, 1.0)}, "seed": 0, **GOALS}
    return OptunaSearch(**{**arguments, **changes})


def ours(study: StudySearcher) -> TuneSearcher:
    def config(suggestion: Suggestion) -> dict[str, Any]:
        return {"uid": suggestion.uid, **suggestion.values}

    return TuneSearcher(study, config, count=10, places=lambda: 10)


def searcher() -> StudySearcher:
    return StudySearcher(SPACE, "tpe", seed=0)


def trials(searcher: OptunaSearch | StudySearcher) -> list[optuna.trial.FrozenTrial]:
    study = searcher._ot_study if isinstance(searcher, OptunaSearch) else searcher.study
    return list(study.trials)


def states(searcher: OptunaSearch | StudySearcher) -> list[TrialState]:
    return [trial.state for trial in trials(searcher)]


def record(suggestion: Suggestion, status: TrialStatus, **values: Any) -> TrialRecord:
    return TrialRecord(
        suggestion.uid, 1, status, resolve(SPACE, suggestion.values, suggestion.uid, seed=0), **values
    )


def test_a_trial_that_was_stopped_early_is_on_the_front() -> None:
    """A scheduler's stop and an end by itself look alike to a searcher: the last result comes with both."""
    theirs = stock()
    for trial in ("long", "short"):
        theirs.suggest(trial)
    theirs.on_trial_complete("long", GOOD)
    theirs.on_trial_complete("short", SHORT)
    assert states(theirs) == [TrialState.COMPLETE, TrialState.COMPLETE]
    assert len(theirs._ot_study.best_trials) == 2

    study = searcher()
    mine = ours(study)
    for trial in ("long", "short"):
        mine.suggest(trial)
    mine.on_trial_complete("long", {**GOOD, **STATUS})
    mine.on_trial_complete("short", SHORT)
    assert states(study) == [TrialState.COMPLETE, TrialState.PRUNED]


@pytest.mark.parametrize("result", [{**GOOD, "val_accuracy": math.nan}, {"val_accuracy": 0.9}])
def test_nan_or_a_missing_objective_leaves_a_trial_that_runs_for_ever(result: dict[str, float]) -> None:
    theirs = stock()
    theirs.suggest("a")
    theirs.on_trial_complete("a", result)
    assert states(theirs) == [TrialState.RUNNING]

    study = searcher()
    mine = ours(study)
    mine.suggest("a")
    mine.on_trial_complete("a", {**result, **STATUS})
    assert states(study) == [TrialState.FAIL]


def test_the_end_of_an_unknown_trial_ends_the_run() -> None:
    with pytest.raises(KeyError, match="unknown"):
        stock().on_trial_complete("unknown", GOOD)

    study = searcher()
    ours(study).on_trial_complete("unknown", {**GOOD, **STATUS})
    assert states(study) == []


def test_metric_and_mode_of_tune_config_make_the_study_single_objective() -> None:
    """`TuneConfig(metric=, mode=)` reaches the searcher by this call when the space is Tune's."""
    theirs = stock(space=None)
    assert theirs.set_search_properties("val_accuracy", "max", {"lr": tune.uniform(0, 1)})
    assert len(theirs._ot_study.directions) == 1

    study = searcher()
    assert not ours(study).set_search_properties("val_accuracy", "max", {"lr": tune.uniform(0, 1)})
    assert len(study.study.directions) == 2


def test_a_lambda_cannot_be_saved_with_the_first_snapshot(tmp_path: Path) -> None:
    theirs = stock(space=lambda trial: {"lr": trial.suggest_float("lr", 0, 1)})
    theirs.suggest("a")
    with pytest.raises(Exception, match="pickle"):
        theirs.save(str(tmp_path / "state.pkl"))

    ours(searcher()).save_to_dir(str(tmp_path), session_str="now")  # it holds a lambda, too


def test_two_experiments_with_one_storage_become_one_study() -> None:
    storage = InMemoryStorage()
    stock(storage=storage).suggest("a")
    single = stock(storage=storage, metric="val_accuracy", mode="max")
    assert len(single._ot_study.trials) == 1
    assert len(single._ot_study.directions) == 2  # one was asked for

    first, second = searcher(), searcher()
    first.ask()
    assert states(second) == []


def test_points_to_evaluate_are_queued_again_when_a_run_goes_on() -> None:
    storage = InMemoryStorage()
    for _ in range(2):
        theirs = stock(storage=storage, points_to_evaluate=[{"lr": 0.5}])
    assert states(theirs) == [TrialState.WAITING, TrialState.WAITING]

    study, resumed = searcher(), searcher()
    resumed.replay([record(study.ask(), TrialStatus.FINISHED, queries=100, val_accuracy=0.9)])
    assert [trial.params["lr"] == 0.5 for trial in trials(resumed)] == [True]
    assert resumed.ask().values["lr"] != 0.5


def test_known_results_cannot_be_given_for_several_objectives() -> None:
    with pytest.raises(TypeError, match="not list"):
        stock(points_to_evaluate=[{"lr": 0.5}], evaluated_rewards=[[0.9, 1000.0]])

    study, resumed = searcher(), searcher()
    resumed.replay([record(study.ask(), TrialStatus.FINISHED, queries=1000, val_accuracy=0.9)])
    assert [trial.values for trial in trials(resumed)] == [[0.9, 1000.0]]


def test_a_storage_that_is_ahead_of_the_snapshot_keeps_lost_trials_running(tmp_path: Path) -> None:
    """The driver is killed after a snapshot: one trial ended, one was begun since."""
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    theirs = stock(storage=storage)
    theirs.suggest("a")
    theirs.save(str(tmp_path / "state.pkl"))
    theirs.suggest("b")
    theirs.on_trial_complete("a", GOOD)
    restored = stock(storage=storage)
    restored.restore(str(tmp_path / "state.pkl"))
    restored.on_trial_complete("a", GOOD)  # it runs again, and is refused with a line in the log
    restored.suggest("b again")
    restored.on_trial_complete("b again", GOOD)
    assert states(restored) == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.COMPLETE]

    study, resumed = searcher(), searcher()
    first, second = study.ask(), study.ask()
    resumed.replay(
        [
            record(first, TrialStatus.FINISHED, queries=1000, val_accuracy=0.9),
            record(second, TrialStatus.RUNNING),
        ]
    )
    mine = ours(resumed)
    assert mine.suggest("b again") == {"uid": second.uid, **second.values}
    mine.on_trial_complete("b again", {**GOOD, **STATUS})
    assert states(resumed) == [TrialState.COMPLETE, TrialState.COMPLETE]


def test_a_restarted_trial_has_a_new_name_that_nobody_knows() -> None:
    """`restart_errored` gives the trial a new id and asks for no suggestion."""
    theirs = stock()
    theirs.suggest("a")
    theirs.on_trial_complete("a", error=True)
    with pytest.raises(KeyError, match="a, restarted"):
        theirs.on_trial_complete("a, restarted", GOOD)
    assert states(theirs) == [TrialState.FAIL]

    study, resumed = searcher(), searcher()
    begun = study.ask()
    resumed.replay([record(begun, TrialStatus.INTERRUPTED)])
    mine = ours(resumed)
    assert mine.suggest("a, restarted")["uid"] == begun.uid
    mine.on_trial_complete("a, restarted", {**GOOD, **STATUS})
    assert states(resumed) == [TrialState.COMPLETE]
