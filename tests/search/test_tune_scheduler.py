import logging
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray.tune.schedulers import TrialScheduler

from raysys.search.query_asha import QueryAsha
from raysys.search.tune_scheduler import TuneScheduler

CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


def trial(uid: str, budget: int = 400) -> Any:
    return SimpleNamespace(config={"uid": uid, "options": {"query_budget": budget}})


def report(queries: int, accuracy: float | None, milestone: bool = True, **values: Any) -> dict[str, Any]:
    return {"queries": queries, "val_accuracy": accuracy, "milestone": milestone, **values}


def scheduler(extras: tuple[str, ...] = ()) -> TuneScheduler:
    return TuneScheduler(QueryAsha([100, 500], extras=len(extras)), "val_accuracy", extras)


def test_it_stops_what_lags_and_logs_each_decision(caplog: pytest.LogCaptureFixture) -> None:
    tune = scheduler()
    caplog.set_level(logging.INFO, logger="raysys")
    good, bad = [report(50, 0.1, False), report(100, 0.9)], [report(100, 0.5), report(120, 0.95, False)]
    assert tune.on_trial_result(None, trial("u00000"), {"reports": good}) == CONTINUE
    assert tune.on_trial_result(None, trial("u00001"), {"reports": bad}) == STOP
    why = "stopped at 100 queries: 50.0% there, 2nd of 2; only the best goes on"
    assert tune.reasons == {"u00001": why}
    assert caplog.messages == ["u00000 goes on at 100 queries: 90.0% there, 1st of 1", f"u00001 {why}"]


def test_the_last_result_of_a_trial_stops_nothing_and_counts_for_others() -> None:
    tune = scheduler()
    last = {"reports": [report(90, 0.9, False)], "status": "finished"}
    assert tune.on_trial_result(None, trial("u00000", 90), last) == CONTINUE
    cut = {"reports": [], "status": "interrupted"}
    assert tune.on_trial_result(None, trial("u00001"), cut) == CONTINUE
    assert tune.on_trial_result(None, trial("u00002"), {"reports": [report(100, 0.5)]}) == STOP


def test_a_trial_that_is_spared_goes_on_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    tune = scheduler()
    caplog.set_level(logging.INFO, logger="raysys")
    tune.spare("u00001")
    for uid, accuracy, expected in (
        ("u00000", 0.9, CONTINUE),
        ("u00001", 0.5, CONTINUE),
        ("u00002", 0.4, STOP),
    ):
        assert tune.on_trial_result(None, trial(uid), {"reports": [report(100, accuracy)]}) == expected
    assert caplog.messages[1].endswith("50.0% there, 2nd of 2; its config has a student already")


def test_more_objectives_are_columns_of_the_reports() -> None:
    tune = scheduler(("seconds",))
    for number, (accuracy, seconds) in enumerate([(0.9, 9.0), (0.4, 10.0), (0.3, 1.0)]):
        result = {"reports": [report(100, accuracy, seconds=seconds)]}
        expected = STOP if number == 1 else CONTINUE
        assert tune.on_trial_result(None, trial(f"u0000{number}"), result) == expected


@pytest.mark.parametrize("result", [{}, {"reports": None}, {"reports": [{"queries": "?"}]}])
def test_what_it_does_not_understand_goes_on(result: dict[str, Any]) -> None:
    assert scheduler().on_trial_result(None, trial("u00000"), result) == CONTINUE


def test_tune_can_snapshot_it() -> None:
    assert isinstance(cloudpickle.loads(cloudpickle.dumps(scheduler())), TuneScheduler)
