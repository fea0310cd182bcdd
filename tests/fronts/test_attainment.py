import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.fronts.attainment import (
    attained,
    best_within,
    cheapest_with,
    queries_for,
    round_budgets,
    runs_for,
    staircase,
    steps,
)
from raysys.fronts.front import pareto_front
from raysys.fronts.goal import Goal
from raysys.fronts.hypervolume import Reference
from raysys.fronts.objectives import ACCURACY, QUERIES, Objective
from raysys.fronts.points import pooled

REFERENCE = Reference(accuracy=0.1, queries=1000)
GOAL = Goal((ACCURACY, QUERIES), REFERENCE)
VALUES = st.tuples(st.integers(1, 8), st.sampled_from([0.0, 0.25, 0.5, 0.75, np.nan]))
POINTS = st.lists(VALUES, max_size=10)
RUNS = st.lists(POINTS, min_size=1, max_size=5)


def front_of(points, goal=GOAL, **columns):
    told = {"queries": [p[0] for p in points], "val_accuracy": [p[1] for p in points], **columns}
    return pareto_front(pooled(range(len(points)), [True] * len(points)), told, goal)


@given(POINTS, st.integers(0, 9), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_the_best_point_under_a_limit_is_the_best_of_all_points(points, most, least):
    front = front_of(points)
    bought = best_within(front, most)
    affordable = [(-a, q) for q, a in points if q <= most and np.isfinite(a)]
    assert (None if bought is None else (-points[bought][1], points[bought][0])) == min(
        affordable, default=None
    )
    cheapest = cheapest_with(front, least)
    good = [(q, -a) for q, a in points if a >= least]
    assert (None if cheapest is None else (points[cheapest][0], -points[cheapest][1])) == min(
        good, default=None
    )


def test_under_a_limit_a_third_objective_decides_nothing():
    goal = Goal((ACCURACY, QUERIES, Objective("seconds", "minimize")), REFERENCE)
    front = front_of([(100, 0.5), (200, 0.9), (300, 0.7)], goal, seconds=[3, 2, 1])
    assert len(front.members) == 3
    assert best_within(front, 300) == 1
    assert cheapest_with(front, 0.6) == 1


@given(RUNS, st.data())
def test_attained_is_what_so_many_runs_reach_within_the_budget(runs, data):
    by = data.draw(st.integers(1, len(runs)))
    budgets = [0, 1, 3, 5, 9]
    found = attained([front_of(points) for points in runs], budgets, by)
    for budget, score in zip(budgets, found, strict=True):
        best = sorted(
            max((a for q, a in points if q <= budget and np.isfinite(a)), default=-1) for points in runs
        )
        expected = best[len(runs) - by]
        assert score == expected if expected >= 0 else np.isnan(score)


@given(RUNS)
def test_attained_cuts_through_the_empirical_attainment_function(runs):
    """Against moocore's, whose level k of n is the surface that k of the n sets attain."""
    sets = [[(q, -a) for q, a in points if np.isfinite(a)] for points in runs]
    if not all(sets):
        return
    rows = np.array([row for points in sets for row in points], dtype=float)
    owner = np.array([run for run, points in enumerate(sets) for _ in points])
    surfaces = moocore.eaf(rows, owner)
    fronts = [front_of(points) for points in runs]
    for by in range(1, len(runs) + 1):
        level = surfaces[np.isclose(surfaces[:, 2], 100 * by / len(runs))]
        for budget in range(9):
            surface = -level[level[:, 0] <= budget, 1]
            (score,) = attained(fronts, [budget], by)
            assert score == surface.max() if len(surface) else np.isnan(score)


def test_no_student_so_cheap_is_nan():
    fronts = [front_of([(100, 0.5)]), front_of([(200, 0.8)]), front_of([])]
    assert attained(fronts, [50, 100, 200], 1).tolist() == pytest.approx([np.nan, 0.5, 0.8], nan_ok=True)
    assert attained(fronts, [50, 100, 200], 2).tolist() == pytest.approx([np.nan, np.nan, 0.5], nan_ok=True)
    assert np.isnan(attained(fronts, [50, 100, 200], 3)).all()


@given(POINTS)
def test_the_staircase_is_where_more_queries_first_buy_more(points):
    front = front_of(points)
    stairs = staircase(front)
    assert (np.diff(front.queries[stairs]) > 0).all()
    assert (np.diff(front.score[stairs]) > 0).all()
    assert set(zip(front.queries, front.score, strict=True)) == set(
        zip(front.queries[stairs], front.score[stairs], strict=True)
    )


@given(POINTS, st.lists(st.integers(1, 5), min_size=10, max_size=10))
def test_with_a_third_objective_the_staircase_is_the_front_of_the_other_two(points, seconds):
    goal = Goal((ACCURACY, QUERIES, Objective("seconds", "minimize")), REFERENCE)
    front = front_of(points, goal, seconds=seconds[: len(points)])
    flat = front_of(points)
    stairs = staircase(front)
    assert set(zip(front.queries[stairs], front.score[stairs], strict=True)) == set(
        zip(flat.queries, flat.score, strict=True)
    )


@given(RUNS, st.data())
def test_the_queries_for_a_score_are_the_least_budget_that_attains_it(runs, data):
    by = data.draw(st.integers(1, len(runs)))
    score = data.draw(st.sampled_from([0.0, 0.3, 0.5, 0.9]))
    fronts = [front_of(points) for points in runs]
    enough = [budget for budget in range(1, 9) if attained(fronts, [budget], by)[0] >= score]
    assert queries_for(fronts, score, by) == min(enough, default=None)


@given(RUNS, st.data())
def test_between_steps_nothing_more_is_attained(runs, data):
    by = data.draw(st.integers(1, len(runs)))
    fronts = [front_of(points) for points in runs]
    at = steps(fronts)
    for budget in range(9):
        last = max([0, *at[at <= budget]])
        np.testing.assert_array_equal(*(attained(fronts, [one], by) for one in (budget, last)))


@given(st.floats(1, 1e6), st.floats(1, 1e6))
def test_round_budgets_span_what_they_are_of(one, other):
    low, high = sorted((one, other))
    found = round_budgets(low, high)
    assert all(str(budget).rstrip("0") in ("1", "2", "5") for budget in found)
    assert found == sorted(set(found))
    assert found[0] >= low and found[-1] >= high
    assert all(budget < high for budget in found[:-1])


def test_round_budgets_leave_none_out():
    assert round_budgets(100, 5000) == [100, 200, 500, 1000, 2000, 5000]
    assert round_budgets(120, 900) == [200, 500, 1000]
    assert round_budgets(700, 700) == [1000]
    assert round_budgets(1, 1) == [1]


@pytest.mark.parametrize(
    ("share", "runs", "by"), [(0.5, 3, 2), (0.25, 3, 1), (0.75, 3, 3), (0.75, 8, 6), (0.5, 1, 1)]
)
def test_a_share_of_the_runs_is_at_least_that_share(share, runs, by):
    assert runs_for(share, runs) == by
