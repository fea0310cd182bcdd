"""What Ray Tune's ASHA gets wrong with milestones in queries, and that `QueryAsha` does not.

As in test_stock_failures, each test shows both, with the installed versions.
"""

from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler

from raysys.search.query_asha import QueryAsha

MILESTONES = (100, 200, 400, 800)
BUDGET = 1600


class Stock:
    """ASHA with those milestones, told by name."""

    def __init__(self) -> None:
        self.scheduler = ASHAScheduler(
            "queries", "accuracy", "max", max_t=BUDGET, grace_period=100, reduction_factor=2
        )
        self._trials: dict[str, Trial] = {}

    def report(self, uid: str, queries: int, accuracy: float) -> bool:
        """True when the trial goes on."""
        if uid not in self._trials:
            self._trials[uid] = Trial("stock", trial_id=uid, stub=True)
            self.scheduler.on_trial_add(None, self._trials[uid])
        told = {"queries": queries, "accuracy": accuracy}
        return bool(self.scheduler.on_trial_result(None, self._trials[uid], told) == ASHAScheduler.CONTINUE)


def goes_on(ours: QueryAsha, uid: str, queries: int, accuracy: float, budget: int = BUDGET) -> bool:
    decision = ours.report(uid, budget, queries, accuracy, milestone=queries in MILESTONES)
    return decision is None or decision.goes_on


def test_a_jump_over_a_milestone_counts_for_it_with_what_came_after() -> None:
    """`far` reports at 40 and at 1,000 queries. `exact` must match at 800 what 1,000 queries bought."""
    theirs = Stock()
    assert theirs.report("far", 40, 0.2)
    assert theirs.report("far", 1000, 0.9)
    assert not theirs.report("exact", 800, 0.8)

    ours = QueryAsha(MILESTONES)
    assert goes_on(ours, "far", 40, 0.2)
    assert goes_on(ours, "far", 1000, 0.9)
    assert goes_on(ours, "exact", 800, 0.8)


def test_later_reports_fill_the_milestones_that_were_jumped_over() -> None:
    """`exact` is to be at 400 what `far` is at 1,100."""
    theirs = Stock()
    for queries, accuracy in ((40, 0.2), (1000, 0.9), (1100, 0.9)):
        assert theirs.report("far", queries, accuracy)
    assert not theirs.report("exact", 400, 0.5)

    ours = QueryAsha(MILESTONES)
    for queries, accuracy in ((40, 0.2), (1000, 0.9), (1100, 0.9)):
        assert goes_on(ours, "far", queries, accuracy)
    assert goes_on(ours, "exact", 400, 0.5)


@pytest.mark.slow
def test_what_the_rungs_hold_is_lost_when_a_run_goes_on(local_ray: None, tmp_path: Path) -> None:
    """A new trial that is worse than all before it survives the first milestone after a resume."""

    def trial(config: dict[str, Any]) -> None:
        tune.report({"queries": 100, "accuracy": 0.9})

    theirs = Stock()
    tuner = tune.Tuner(
        trial,
        tune_config=tune.TuneConfig(scheduler=theirs.scheduler),
        run_config=tune.RunConfig(name="run", storage_path=str(tmp_path), verbose=0),
    )
    tuner.fit()
    assert not theirs.report("weak", 100, 0.1)
    again = tune.Tuner.restore(str(tmp_path / "run"), trial)
    again.fit()
    restored = Stock()
    restored.scheduler = again._local_tuner._tune_config.scheduler
    assert restored.report("weak", 100, 0.1)

    ours, resumed = QueryAsha(MILESTONES), QueryAsha(MILESTONES)
    assert goes_on(ours, "good", 100, 0.9, budget=400)
    resumed.replay("good", 400, 100, 0.9, milestone=True)
    for scheduler in (ours, resumed):
        assert not goes_on(scheduler, "weak", 100, 0.1, budget=400)
