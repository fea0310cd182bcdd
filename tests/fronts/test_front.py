import itertools

import numpy as np
import pytest
from edge_runs import replicate, trial
from hypothesis import given
from hypothesis import strategies as st

from raysys.fronts.front import contenders, final_front, pareto_front
from raysys.fronts.goal import Goal
from raysys.fronts.hypervolume import Reference, hypervolume, scaled_costs
from raysys.fronts.objectives import ACCURACY, AGREEMENT, QUERIES, Objective
from raysys.fronts.points import pooled
from raysys.records import TrialStatus

REFERENCE = Reference(accuracy=0.1, queries=1000)
GOAL = Goal((ACCURACY, QUERIES), REFERENCE)
SECONDS = Objective("seconds", "minimize")
POINTS = st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 20).map(lambda a: a / 20)), max_size=15)


def columns(points):
    return np.array([p[0] for p in points], dtype=float), np.array([p[1] for p in points], dtype=float)


def brute_volume(costs):
    """Area below (1, 1) that is dominated: sum over the cells between all coordinates."""
    xs, ys = (np.unique([*costs[:, axis], 1.0]) for axis in (0, 1))
    area = 0.0
    for x, x_next in itertools.pairwise(xs):
        for y, y_next in itertools.pairwise(ys):
            if x < 1 and y < 1 and (costs <= [x, y]).all(axis=1).any():
                area += (x_next - x) * (y_next - y)
    return area


@given(POINTS)
def test_hypervolume_equals_counting_cells(points):
    costs = scaled_costs(*columns(points), REFERENCE)
    inside = costs[(costs < 1).all(axis=1)] if len(costs) else costs
    expected = brute_volume(inside) if len(inside) else 0.0
    assert hypervolume(costs) == pytest.approx(expected, abs=1e-12)


def test_scale_runs_from_the_perfect_student_to_the_reference():
    costs = scaled_costs([1, 1000, 0], [1.0, 0.1, 1.0], REFERENCE)
    np.testing.assert_allclose(costs, [[0, 0], [1, 1], [0, 0]])
    assert hypervolume(costs[:1]) == 1.0
    assert hypervolume(costs[1:2]) == 0.0


def test_points_beyond_the_reference_add_nothing():
    assert hypervolume(scaled_costs([5000, 10], [0.99, 0.05], REFERENCE)) == 0.0


@pytest.mark.parametrize("accuracy, queries", [(1.0, 10), (-0.1, 10), (0.1, 1)])
def test_a_reference_without_room_is_refused(accuracy, queries):
    with pytest.raises(ValueError, match="needs 0 <= accuracy < 1 and queries > 1, but got"):
        Reference(accuracy, queries)


def front_of(queries, accuracy, goal=GOAL, **columns):
    """The front of points of one row each."""
    counts = np.asarray(queries) != 0
    told = {"queries": queries, "val_accuracy": accuracy, **columns}
    return pareto_front(pooled(range(len(counts)), counts), told, goal)


def test_only_finished_trials_are_on_the_final_front():
    records = [
        trial(0, queries=100, val_accuracy=0.8),
        trial(1, TrialStatus.STOPPED, queries=50, val_accuracy=0.9),
        trial(2, queries=200, val_accuracy=0.9),
        trial(3, TrialStatus.FAILED, queries=10, val_accuracy=None),
    ]
    front = final_front(records, GOAL)
    assert front.members.tolist() == [0, 2]
    assert (front.queries.tolist(), front.score.tolist()) == ([100, 200], [0.8, 0.9])
    assert front.excluded == 0


def test_points_without_a_finite_accuracy_are_counted():
    front = front_of([100, 200, 300], [np.nan, np.inf, 0.9])
    assert (front.members.tolist(), front.excluded) == ([2], 2)


def test_equal_points_are_all_kept_and_sorted_by_queries():
    assert front_of([300, 100, 300, 500], [0.9, 0.5, 0.9, 0.8]).members.tolist() == [1, 0, 2]


def test_no_points_no_front():
    front = final_front([], GOAL)
    assert (front.members.tolist(), front.knee, front.hypervolume) == ([], None, 0.0)


@given(POINTS, st.integers(1, 2000))
def test_the_front_within_a_limit_is_the_front_of_what_is_within(points, limit):
    queries, accuracy = columns(points)
    part = front_of(queries, accuracy).within(limit, None)
    rows = np.flatnonzero(queries <= limit)
    assert part.members.tolist() == rows[front_of(queries[rows], accuracy[rows]).members].tolist()


def test_a_student_that_asked_nothing_is_on_no_front():
    records = [trial(0, queries=0, val_accuracy=0.1), trial(1, queries=100, val_accuracy=0.9)]
    front = final_front(records, GOAL)
    assert front.queries.tolist() == [100]
    assert front.excluded == 0


def test_the_score_says_which_field_ranks_the_records():
    records = [
        trial(0, queries=100, val_accuracy=0.5, agreement=0.9),
        trial(1, queries=200, val_accuracy=0.6, agreement=0.8),
        trial(2, queries=50, val_accuracy=None, agreement=0.3),
    ]
    assert final_front(records, GOAL).members.tolist() == [0, 1]
    assert final_front(records, Goal((AGREEMENT, QUERIES), REFERENCE)).members.tolist() == [2, 0]


def test_seeds_of_a_recipe_are_one_point_at_their_means():
    lucky = [trial(0, queries=100, val_accuracy=0.9), replicate(3, of=0, queries=200, val_accuracy=0.5)]
    steady = [trial(1, queries=150, val_accuracy=0.8), replicate(2, of=1, queries=150, val_accuracy=0.7)]
    front = final_front([lucky[0], *steady, lucky[1]], GOAL)
    assert (front.queries.tolist(), front.score.tolist()) == ([150], [0.75])
    assert front.rows() == [1, 2]
    running = replicate(4, TrialStatus.RUNNING, of=1, val_accuracy=0.0)
    assert final_front([*steady, running], GOAL).score.tolist() == [0.75]
    broken = replicate(4, of=1, val_accuracy=None)
    assert final_front([*steady, broken], GOAL).excluded == 1


def test_the_spread_over_seeds_is_the_sample_standard_deviation():
    points = pooled(["a", "b", "a", "a"], [True] * 4)
    column = [0.90, 0.5, 0.92, 0.97]  # deviations -0.03, -0.01, 0.04: squares sum to 0.0026
    assert points.mean(column).tolist() == pytest.approx([0.93, 0.5])
    assert points.std(column).tolist() == pytest.approx([0.0013**0.5, np.nan], nan_ok=True)
    assert points.mean([1.0, 2.0, None, 3.0]).tolist() == pytest.approx([np.nan, 2.0], nan_ok=True)


def test_points_beyond_a_limit_are_on_no_front_and_counted():
    goal = Goal((ACCURACY, QUERIES), REFERENCE, {"val_accuracy": 0.6, "queries": 400})
    front = front_of([100, 200, 400, 500, 100], [0.5, 0.6, 0.8, 0.9, np.nan], goal)
    assert front.members.tolist() == [1, 2]
    assert (front.outside, front.excluded) == (2, 1)


def test_a_third_objective_keeps_points_but_not_in_the_volume_and_the_knee():
    queries, accuracy = [10, 20, 100, 100], [0.2, 0.8, 0.85, 0.7]
    front = front_of(queries, accuracy, Goal((QUERIES, ACCURACY, SECONDS), REFERENCE), seconds=[9, 9, 9, 1])
    assert front.members.tolist() == [0, 1, 2, 3]
    flat = front_of(queries, accuracy)
    assert (front.knee, front.hypervolume) == (flat.knee, flat.hypervolume) == (1, flat.hypervolume)


GRID = st.tuples(st.integers(1, 3), st.integers(0, 3).map(lambda a: a / 4), st.integers(0, 2))
TRIALS = st.lists(
    st.tuples(st.integers(0, 5), GRID, st.sampled_from(["finished"] * 4 + ["stopped"])), max_size=10
)


def records_of(drawn):
    """Trials of few recipes, with few different values."""
    return [
        replicate(number, TrialStatus(status), of=recipe, queries=queries, val_accuracy=a or None, seconds=s)
        for number, (recipe, (queries, a, s), status) in enumerate(drawn)
    ]


@given(TRIALS)
def test_the_final_front_equals_the_definition_over_means(drawn):
    records = records_of(drawn)
    goal = Goal((ACCURACY, QUERIES, SECONDS), REFERENCE, {"val_accuracy": 0.3})
    groups = {}
    for row, one in enumerate(records):
        if one.status == "finished":
            groups.setdefault(one.config.recipe, []).append(row)
    means = {}
    for rows in groups.values():
        values = [
            (-(records[r].val_accuracy or np.nan), records[r].queries, records[r].seconds) for r in rows
        ]
        mean = np.mean(values, axis=0)
        if -mean[0] >= 0.3:
            means[tuple(rows)] = mean
    expected = {
        rows
        for rows, mine in means.items()
        if not any((other <= mine).all() and (other < mine).any() for other in means.values())
    }
    front = final_front(records, goal)
    assert {tuple(front.points.rows(member).tolist()) for member in front.members} == expected
    assert sorted(front.rows()) == sorted(row for rows in expected for row in rows)


@given(TRIALS, st.integers(0, 10))
def test_with_one_seed_each_what_is_lost_never_comes_back(drawn, first):
    drawn = [(number, *rest) for number, (_, *rest) in enumerate(drawn)]
    records = records_of(drawn)
    early, all_of_them = contenders(records[:first], GOAL, 1), contenders(records, GOAL, 1)
    assert all_of_them & {one.uid for one in records[:first]} <= early
    front = final_front(records, GOAL)
    assert all_of_them == {records[row].uid for row in front.rows()}


def test_only_a_point_with_all_its_seeds_takes_others_out():
    good, bad = trial(0, queries=100, val_accuracy=0.9), trial(1, queries=200, val_accuracy=0.5)
    assert contenders([good, bad], GOAL, 2) == {"u00000", "u00001"}
    second = replicate(2, of=0, queries=100, val_accuracy=0.8)
    assert contenders([good, bad, second], GOAL, 2) == {"u00000", "u00002"}
    under_way = replicate(3, TrialStatus.RUNNING, of=1)
    assert contenders([good, bad, second, under_way], GOAL, 2) == {"u00000", "u00001", "u00002"}
    third = replicate(3, TrialStatus.PENDING, of=0)
    assert contenders([good, bad, second, third], GOAL, 2) == {"u00000", "u00001", "u00002"}


def test_points_that_can_be_on_no_front_are_not_in_play():
    limits = Goal((ACCURACY, QUERIES), REFERENCE, {"queries": 400})
    records = [
        trial(0, queries=500, val_accuracy=0.9),
        trial(1, queries=100, val_accuracy=None),
        trial(2, queries=0, val_accuracy=0.1),
        trial(3, TrialStatus.STOPPED, queries=100, val_accuracy=0.9),
        trial(4, queries=400, val_accuracy=0.2),
    ]
    assert contenders(records, limits, 1) == {"u00004"}
    assert contenders([], limits, 1) == set()
