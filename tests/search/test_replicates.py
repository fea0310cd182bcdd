"""Configs near the front get more seeds, and are one to the sampler."""

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from raysys.records import TrialConfig, TrialRecord, TrialStatus
from raysys.search.study_searcher import FIRST, StudySearcher, Suggestion
from raysys.space.schema import Point, Space

SPACE = Space.model_validate(
    {
        "name": "toy",
        "dataset": "digits",
        "teacher": {"architecture": "mlp", "recipe": {"epochs": 1}},
        "student": "mlp",
        "parameters": {
            "query_budget": {"type": "int", "low": 100, "high": 4000, "log": True},
            "lr": {"type": "float", "low": 0.01, "high": 0.1},
        },
        "trials": 40,
    }
)


def play(suggestion: Suggestion) -> dict[str, float | None]:
    """A noisy trial: the noise follows from its number."""
    values: Any = suggestion.values
    noise = np.random.default_rng(suggestion.number).normal(0, 0.05)
    accuracy = 0.9 - abs(values["lr"] - 0.05) * 5 - 30 / values["query_budget"] + noise
    return {"val_accuracy": float(accuracy), "queries": float(values["query_budget"])}


def played(searcher: StudySearcher, trials: int) -> list[Suggestion]:
    suggestions = []
    for _ in range(trials):
        suggestions.append(searcher.ask())
        searcher.tell(suggestions[-1].uid, TrialStatus.FINISHED, play(suggestions[-1]))
    return suggestions


def finished(one: Suggestion) -> TrialRecord:
    """The record of a trial that was played."""
    config = TrialConfig(one.uid, "ideal", "hard", "mlp", one.number, dict(one.values))
    told = play(one)
    spent, accuracy = int(told["queries"] or 0), told["val_accuracy"]
    return TrialRecord(one.uid, 0, TrialStatus.FINISHED, config, queries=spent, val_accuracy=accuracy)


def key(suggestion: Suggestion) -> tuple[Any, ...]:
    return tuple(sorted(suggestion.values.items()))


def means(suggestions: list[Suggestion]) -> dict[tuple[Any, ...], tuple[int, float, float]]:
    """(seeds, mean accuracy, queries) of each config."""
    told = defaultdict(list)
    for one in suggestions:
        told[key(one)].append(play(one))
    return {
        config: (
            len(rows),
            float(np.mean([row["val_accuracy"] for row in rows])),  # type: ignore[arg-type]
            float(rows[0]["queries"] or 0),
        )
        for config, rows in told.items()
    }


def on_front(points: dict[tuple[Any, ...], tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    rows = list(points.values())
    return [
        one
        for one in rows
        if not any(other[1] >= one[1] and other[2] <= one[2] and other[1:] != one[1:] for other in rows)
    ]


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2"])
def test_the_configs_of_the_front_have_all_their_seeds_in_the_end(sampler: Any) -> None:
    """But for one that comes to the front when the last replicate of another has ended."""
    points = means(played(StudySearcher(SPACE, sampler, seed=1, seeds=3), SPACE.trials))
    seeds = [seeds for seeds, _, _ in on_front(points)]
    assert seeds.count(3) >= len(seeds) - 1 > 2
    assert Counter(seeds for seeds, _, _ in points.values())[1] > 5


def test_new_configs_come_first_and_at_least_every_second_time() -> None:
    suggestions = played(StudySearcher(SPACE, "tpe", seed=2, seeds=5, trials=1000), 60)
    seen: set[tuple[Any, ...]] = set()
    new = []
    for one in suggestions:
        new.append(key(one) not in seen)
        seen.add(key(one))
    assert all(new[:FIRST])
    assert all(one or other for one, other in pairwise(new))
    assert not all(new)


def test_a_short_run_repeats_its_front_too() -> None:
    points = means(played(StudySearcher(SPACE, "random", seed=1, seeds=2, trials=8), 8))
    assert len(points) >= 4
    assert {seeds for seeds, _, _ in on_front(points)} == {2}


def test_without_seeds_no_config_comes_twice() -> None:
    suggestions = played(StudySearcher(SPACE, "tpe", seed=2), 40)
    assert len({key(one) for one in suggestions}) == 40


def test_the_sampler_sees_one_trial_a_config_with_the_mean() -> None:
    searcher = StudySearcher(SPACE, "tpe", seed=3, seeds=3)
    points = means(played(searcher, SPACE.trials))
    done = searcher.study.get_trials(states=(TrialState.COMPLETE,))
    assert len(done) == len(points)
    for trial in done:
        _, mean, queries = points[tuple(sorted(trial.params.items()))]
        assert trial.values == pytest.approx([mean, queries])


def test_a_rebuilt_searcher_goes_on_with_replicates_like_the_undisturbed_one() -> None:
    undisturbed = StudySearcher(SPACE, "tpe", seed=4, seeds=3)
    before = played(undisturbed, 25)
    rebuilt = StudySearcher(SPACE, "tpe", seed=4, seeds=3)
    rebuilt.replay(finished(one) for one in before)
    assert played(rebuilt, 15) == played(undisturbed, 15)


def test_a_config_that_keeps_failing_is_not_tried_for_ever() -> None:
    searcher = StudySearcher(SPACE, "random", seed=5, seeds=3)
    tries: Counter[tuple[Any, ...]] = Counter()
    for _ in range(40):
        one = searcher.ask()
        tries[key(one)] += 1
        status = TrialStatus.FINISHED if tries[key(one)] == 1 else TrialStatus.FAILED
        searcher.tell(one.uid, status, play(one))
    assert max(tries.values()) == 3


def test_a_config_with_a_seed_that_diverged_has_failed() -> None:
    """As on the front, where a point has no mean then."""
    searcher = StudySearcher(SPACE, "random", seed=5, seeds=3)
    tries: Counter[tuple[Any, ...]] = Counter()
    for _ in range(SPACE.trials):
        one = searcher.ask()
        tries[key(one)] += 1
        told = play(one) if tries[key(one)] == 1 else {"val_accuracy": float("nan"), "queries": 500.0}
        searcher.tell(one.uid, TrialStatus.FINISHED, told)
    states = {tuple(sorted(one.params.items())): one.state for one in searcher.study.trials}
    assert max(tries.values()) == 2
    assert all(
        state is (TrialState.FAIL if tries[config] > 1 else TrialState.COMPLETE)
        for config, state in states.items()
    )


def test_a_space_that_searches_nothing_repeats_its_one_config() -> None:
    bare = SPACE.model_copy(update={"parameters": {}, "options": {"query_budget": 500, "lr": 0.05}})
    searcher = StudySearcher(bare, "tpe", seed=0)
    assert [searcher.ask().uid for _ in range(3)] == ["u00000", "u00001", "u00002"]


def test_configs_outside_of_a_limit_get_no_more_seeds() -> None:
    limited = SPACE.model_copy(update={"limits": {"queries": 400, "val_accuracy": 0.3}})
    suggestions = played(StudySearcher(limited, "random", seed=6, seeds=2), 40)
    for seeds, accuracy, queries in means(suggestions).values():
        if queries > 400 or accuracy < 0.2:
            assert seeds == 1
    assert any(seeds == 2 for seeds, _, _ in means(suggestions).values())


def test_trials_of_earlier_runs_teach_but_are_not_of_this_run() -> None:
    earlier = [finished(one) for one in played(StudySearcher(SPACE, "random", seed=7), 60)]
    cold = played(StudySearcher(SPACE, "tpe", seed=8, seeds=2), 12)
    warm = played(StudySearcher(SPACE, "tpe", seed=8, seeds=2, earlier=earlier), 12)
    assert [one.uid for one in warm] == [one.uid for one in cold]
    assert not {key(one) for one in warm} & {tuple(sorted(r.config.options.items())) for r in earlier}

    def distance(suggestions: list[Suggestion]) -> float:
        values: list[Any] = [one.values["lr"] for one in suggestions[:10]]
        return float(np.mean([abs(value - 0.05) for value in values]))

    assert distance(warm) < 0.7 * distance(cold)


def test_what_another_run_reached_is_not_in_the_mean_of_an_equal_config() -> None:
    limited = SPACE.model_copy(
        update={"points": [Point(values={"query_budget": 200, "lr": 0.05})], "trials": 2}
    )
    searcher = StudySearcher(
        limited, "random", seed=0, earlier=[finished(Suggestion(9, "u00009", dict(limited.points[0].values)))]
    )
    first = searcher.ask()
    searcher.tell(first.uid, TrialStatus.FINISHED, {"val_accuracy": 0.5, "queries": 200.0})
    assert [trial.values for trial in searcher.study.trials][1] == [0.5, 200.0]


@pytest.mark.parametrize(
    "change",
    [{"lr": 0.5}, {"query_budget": 50}, {"lr": None}],
)
def test_an_earlier_trial_of_another_space_is_left_out(change: dict[str, float | None]) -> None:
    options = {key: value for key, value in {"lr": 0.05, "query_budget": 200, **change}.items() if value}
    config = TrialConfig("u00000", "ideal", "hard", "mlp", 0, options)
    record = TrialRecord("u00000", 0, TrialStatus.FINISHED, config, queries=200, val_accuracy=0.9)
    warm = StudySearcher(SPACE, "tpe", seed=8, earlier=[record])
    assert warm.study.trials == []
