from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.tune.search import Searcher

from raysys.records import TrialConfig, TrialRecord, TrialStatus
from raysys.search.study_searcher import StudySearcher, Suggestion
from raysys.search.tune_searcher import TuneSearcher
from raysys.space.schema import Space

SPACE = Space.model_validate(
    {
        "name": "toy",
        "dataset": "digits",
        "teacher": {"architecture": "lenet5", "recipe": {"epochs": 1}},
        "student": "lenet5",
        "parameters": {"g_steps": {"type": "int", "low": 1, "high": 100}},
        "trials": 3,
    }
)


class Told(StudySearcher):
    """A real searcher that also writes down what it is told."""

    def __init__(self) -> None:
        super().__init__(SPACE, "random", seed=0)
        self.calls: list[tuple[str, TrialStatus]] = []

    def tell(self, uid: str, status: TrialStatus, objectives: Any) -> None:
        self.calls.append((uid, status))
        super().tell(uid, status, objectives)


def config(suggestion: Suggestion) -> dict[str, Any]:
    return {"uid": suggestion.uid, **suggestion.values}


def test_it_suggests_so_many_and_then_ends() -> None:
    seen: list[Suggestion] = []

    def on_suggest(suggestion: Suggestion) -> dict[str, Any]:
        seen.append(suggestion)
        return config(suggestion)

    searcher = TuneSearcher(Told(), on_suggest, count=2, places=lambda: 9)
    assert searcher.suggest("a") == config(seen[0])
    assert searcher.suggest("b") == config(seen[1])
    assert searcher.suggest("c") == Searcher.FINISHED
    assert [one.uid for one in seen] == ["u00000", "u00001"]


def test_it_waits_for_a_place_and_nodes_that_join_bring_one() -> None:
    places = [1]
    searcher = TuneSearcher(Told(), config, count=4, places=lambda: places[0])
    assert searcher.suggest("a")["uid"] == "u00000"
    assert searcher.suggest("b") is None
    places[0] = 3
    assert [searcher.suggest(trial)["uid"] for trial in "bc"] == ["u00001", "u00002"]
    places[0] = 1
    searcher.on_trial_complete("a", {"status": "finished"})
    searcher.on_trial_complete("c", error=True)
    assert searcher.suggest("d") is None
    searcher.on_trial_complete("b", {"status": "finished"})
    assert searcher.suggest("d")["uid"] == "u00003"
    assert searcher.suggest("e") == Searcher.FINISHED


def test_it_translates_how_a_trial_ended() -> None:
    told = Told()
    searcher = TuneSearcher(told, config, count=5, places=lambda: 9)
    for trial in "abcd":
        searcher.suggest(trial)
    last = {"val_accuracy": 0.9, "queries": 100}
    searcher.on_trial_complete("a", {**last, "status": "finished"})
    searcher.on_trial_complete("b", last)
    searcher.on_trial_complete("c", error=True)
    searcher.on_trial_complete("d", {"val_accuracy": "?", "queries": [], "status": "finished"})
    searcher.on_trial_complete("unknown", last)
    assert told.calls[:4] == [
        ("u00000", TrialStatus.FINISHED),
        ("u00001", TrialStatus.STOPPED),
        ("u00002", TrialStatus.FAILED),
        ("u00003", TrialStatus.FINISHED),
    ]
    assert searcher.suggest("e") != Searcher.FINISHED


def test_tune_can_snapshot_it_whatever_it_holds(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        searcher = TuneSearcher(
            Told(), lambda suggestion: {"n": file.write(suggestion.uid)}, count=1, places=lambda: 9
        )
        assert isinstance(cloudpickle.loads(cloudpickle.dumps(searcher)), TuneSearcher)
        searcher.save_to_dir(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_what_was_begun_goes_on_when_there_is_nothing_for_new_trials() -> None:
    begun = Told()
    record = TrialRecord(
        "u00000",
        0,
        TrialStatus.INTERRUPTED,
        TrialConfig("u00000", "ideal", "hard", "lenet5", 0, dict(begun.ask().values)),
    )
    rebuilt = Told()
    rebuilt.replay([record])
    searcher = TuneSearcher(rebuilt, config, count=3, places=lambda: 9, more=lambda: False)
    assert searcher.suggest("a") == config(Suggestion(0, "u00000", record.config.options))
    assert searcher.suggest("b") == Searcher.FINISHED
