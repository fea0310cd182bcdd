from typing import Any

import pytest

from raysys.errors import CorruptRunError
from raysys.records import TrialRecord, TrialStatus
from raysys.search.samplers import SamplerName
from raysys.search.study_searcher import StudySearcher, Suggestion, trial_uid
from raysys.space.schema import Objective, Space
from raysys.space.trial_config import resolve

SPACE = Space.model_validate(
    {
        "name": "toy",
        "dataset": "digits",
        "teacher": {"architecture": "lenet5", "recipe": {"epochs": 1}},
        "student": "lenet5",
        "options": {"batch_size": 100},
        "parameters": {
            "lr_sgd": {
                "type": "float",
                "low": 1e-3,
                "high": 1.0,
                "log": True,
                "option": "lr",
                "when": {"optimizer": "sgd"},
            },
            "lr_adamw": {
                "type": "float",
                "low": 1e-4,
                "high": 0.1,
                "log": True,
                "option": "lr",
                "when": {"optimizer": "adamw"},
            },
            "optimizer": {"type": "categorical", "choices": ["sgd", "adamw"]},
            "query_budget": {"type": "int", "low": 100, "high": 4000, "log": True},
            "passes": {"type": "int", "low": 0, "high": 20, "step": 5},
            "mixup": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25},
        },
        "points": [
            {
                "label": "full",
                "values": {
                    "optimizer": "sgd",
                    "lr_sgd": 0.01,
                    "query_budget": 500,
                    "passes": 5,
                    "mixup": 0.5,
                },
            },
            {"label": "partial", "values": {"optimizer": "adamw"}},
        ],
        "trials": 30,
    }
)


def play(suggestion: Suggestion) -> dict[str, float | None]:
    """Objectives of a made-up trial: more queries, more passes and lr near 0.05 help."""
    values: Any = suggestion.values
    lr = values.get("lr_sgd", values.get("lr_adamw"))
    accuracy = (
        0.2 * (values["query_budget"] / 100) ** 0.3 * (1 + values["passes"] / 20) / (1 + abs(lr - 0.05))
    )
    return {"val_accuracy": accuracy, "queries": float(values["query_budget"]), "agreement": None}


def outcome(number: int) -> TrialStatus:
    if number % 9 == 4:
        return TrialStatus.FAILED
    return TrialStatus.STOPPED if number % 9 == 7 else TrialStatus.FINISHED


def record(suggestion: Suggestion, status: TrialStatus) -> TrialRecord:
    objectives = play(suggestion) if status is TrialStatus.FINISHED else {}
    return TrialRecord(
        uid=suggestion.uid,
        attempt=0,
        status=status,
        config=resolve(SPACE, suggestion.values, suggestion.uid, seed=1),
        queries=int(objectives.get("queries") or 0),
        val_accuracy=objectives.get("val_accuracy"),
    )


def run(searcher: StudySearcher, trials: int, concurrent: int) -> list[tuple[Suggestion, TrialStatus]]:
    """Play trials, `concurrent` at a time; the last `concurrent` are still running at the end."""
    history: list[tuple[Suggestion, TrialStatus]] = []
    for number in range(trials):
        if number >= concurrent:
            oldest = history[number - concurrent][0]
            status = outcome(oldest.number)
            searcher.tell(oldest.uid, status, play(oldest))
            history[number - concurrent] = (oldest, status)
        history.append((searcher.ask(), TrialStatus.RUNNING))
    return history


def test_points_come_first_and_uids_count() -> None:
    searcher = StudySearcher(SPACE, "random", seed=0)
    first, second, third = (searcher.ask() for _ in range(3))
    assert first.values == SPACE.points[0].values
    assert second.values["optimizer"] == "adamw"
    assert second.values.keys() == {"optimizer", "lr_adamw", "query_budget", "passes", "mixup"}
    assert [one.uid for one in (first, second, third)] == ["u00000", "u00001", "u00002"]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_suggestions_stay_in_the_space(sampler: SamplerName) -> None:
    for suggestion, _ in run(StudySearcher(SPACE, sampler, seed=3), trials=30, concurrent=2):
        for name, value in suggestion.values.items():
            assert SPACE.parameters[name].contains(value)
        active = {name for name in SPACE.parameters if SPACE.is_active(name, suggestion.values)}
        assert suggestion.values.keys() == active


@pytest.mark.parametrize(
    ("sampler", "before", "after"), [("tpe", 25, 8), ("nsga2", 45, 8), ("random", 12, 4), ("gp", 13, 1)]
)
def test_a_rebuilt_searcher_goes_on_like_the_undisturbed_one(
    sampler: SamplerName, before: int, after: int
) -> None:
    undisturbed = StudySearcher(SPACE, sampler, seed=5, floor=0.3)
    history = run(undisturbed, before, concurrent=3)

    rebuilt = StudySearcher(SPACE, sampler, seed=5, floor=0.3)
    rebuilt.replay([record(suggestion, status) for suggestion, status in reversed(history)])
    lost = [suggestion for suggestion, status in history if status is TrialStatus.RUNNING]
    again = [rebuilt.ask() for _ in lost]
    assert [(one.uid, one.values) for one in again] == [(one.uid, one.values) for one in lost]

    for _ in range(after):
        expected, suggestion = undisturbed.ask(), rebuilt.ask()
        assert suggestion == expected
        for searcher in (undisturbed, rebuilt):
            searcher.tell(expected.uid, TrialStatus.FINISHED, play(expected))


def test_seeds_differ_and_repeat() -> None:
    def values(seed: int) -> list[Any]:
        return [suggestion.values for suggestion, _ in run(StudySearcher(SPACE, "tpe", seed), 15, 1)]

    assert values(1) == values(1)
    assert values(1)[2:] != values(2)[2:]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_search_learns_what_helps(sampler: SamplerName) -> None:
    """More passes give a better accuracy for free: late trials make more of them than early ones."""
    history = run(StudySearcher(SPACE, sampler, seed=0), trials=100, concurrent=1)

    def passes(part: list[tuple[Suggestion, TrialStatus]]) -> float:
        values: list[Any] = [suggestion.values["passes"] for suggestion, _ in part]
        return sum(values) / len(values)

    assert passes(history[-30:]) > passes(history[2:22]) + 4


@pytest.mark.parametrize(
    ("status", "objectives"),
    [
        (TrialStatus.FINISHED, {"val_accuracy": 0.9}),
        (TrialStatus.FINISHED, {"val_accuracy": float("nan"), "queries": 100.0}),
        (TrialStatus.FINISHED, {"val_accuracy": 0.9, "queries": float("inf")}),
        (TrialStatus.FINISHED, {"val_accuracy": None, "queries": 100.0}),
        (TrialStatus.FAILED, {"val_accuracy": 0.9, "queries": 100.0}),
    ],
)
def test_a_trial_without_usable_objectives_teaches_nothing(
    status: TrialStatus, objectives: dict[str, float | None]
) -> None:
    told, failed = StudySearcher(SPACE, "tpe", seed=0), StudySearcher(SPACE, "tpe", seed=0)
    for searcher in (told, failed):
        run(searcher, 20, concurrent=1)
    told.tell(trial_uid(19), status, objectives)
    failed.tell(trial_uid(19), TrialStatus.FAILED, {})
    assert told.ask() == failed.ask()


def test_unknown_and_repeated_ends_are_ignored() -> None:
    searcher = StudySearcher(SPACE, "tpe", seed=0)
    suggestion = searcher.ask()
    searcher.tell("u00077", TrialStatus.FINISHED, {})
    searcher.tell(suggestion.uid, TrialStatus.INTERRUPTED, {})
    searcher.tell(suggestion.uid, TrialStatus.FINISHED, play(suggestion))
    searcher.tell(suggestion.uid, TrialStatus.FAILED, {})
    assert searcher.ask().number == 1


def test_replay_refuses_a_gap_and_foreign_configs() -> None:
    history = run(StudySearcher(SPACE, "random", seed=0), 4, concurrent=1)
    records = [record(suggestion, status) for suggestion, status in history]
    with pytest.raises(CorruptRunError, match="u00001 is missing"):
        StudySearcher(SPACE, "random", seed=0).replay([records[0], *records[2:]])
    other = SPACE.model_copy(update={"parameters": {"g_steps": SPACE.parameters["passes"]}, "points": []})
    with pytest.raises(CorruptRunError, match="no option 'g_steps'"):
        StudySearcher(other, "random", seed=0).replay(records)


def test_agreement_is_searched_as_accuracy_is_where_it_is_the_objective() -> None:
    goals = [Objective(name="agreement", direction="maximize"), SPACE.objectives[1]]
    by_accuracy = StudySearcher(SPACE, "tpe", seed=0, floor=0.3)
    by_agreement = StudySearcher(SPACE.model_copy(update={"objectives": goals}), "tpe", seed=0, floor=0.3)
    for _ in range(25):
        expected, suggestion = by_accuracy.ask(), by_agreement.ask()
        assert suggestion == expected
        told = play(expected)
        by_accuracy.tell(expected.uid, TrialStatus.FINISHED, told)
        unlabelled = {**told, "agreement": told["val_accuracy"], "val_accuracy": None}
        by_agreement.tell(expected.uid, TrialStatus.FINISHED, unlabelled)
