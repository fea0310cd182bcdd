import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.fronts.attainment import attained, best_within, cheapest_with
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
