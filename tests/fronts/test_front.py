import itertools

import numpy as np
import pytest
from edge_runs import trial
from hypothesis import given
from hypothesis import strategies as st

from raysys.fronts.front import anytime_front, final_front, front_of_records
from raysys.fronts.hypervolume import Reference, hypervolume, scaled_costs

REFERENCE = Reference(accuracy=0.1, queries=1000)
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


def test_only_finished_trials_are_on_the_final_front():
    front = final_front(["finished", "stopped", "finished", "failed"], [100, 50, 200, 10],
                        [0.8, 0.9, 0.9, np.nan], REFERENCE)  # fmt: skip
    assert front.members.tolist() == [0, 2]
    assert front.excluded == 0


def test_finished_trials_without_a_finite_accuracy_are_counted():
    front = final_front(["finished"] * 3, [100, 200, 300], [np.nan, np.inf, 0.9], REFERENCE)
    assert front.members.tolist() == [2]
    assert front.excluded == 2


def test_equal_points_are_all_kept_and_sorted_by_queries():
    front = anytime_front([300, 100, 300, 500], [0.9, 0.5, 0.9, 0.8], REFERENCE)
    assert front.members.tolist() == [1, 0, 2]


def test_no_points_no_front():
    front = final_front([], [], [], REFERENCE)
    assert (front.members.tolist(), front.knee, front.hypervolume) == ([], None, 0.0)


@given(POINTS, st.integers(1, 2000))
def test_the_front_within_a_limit_is_the_front_of_what_is_within(points, limit):
    queries, accuracy = columns(points)
    members = anytime_front(queries, accuracy, REFERENCE).members
    rows = np.flatnonzero(queries <= limit)
    inside = rows[anytime_front(queries[rows], accuracy[rows], REFERENCE).members]
    assert [m for m in members if queries[m] <= limit] == inside.tolist()


@given(POINTS, st.integers(1, 2000))
def test_the_last_point_within_a_limit_is_the_best_that_it_buys(points, limit):
    queries, accuracy = columns(points)
    inside = [m for m in anytime_front(queries, accuracy, REFERENCE).members if queries[m] <= limit]
    affordable = accuracy[queries <= limit]
    assert [accuracy[m] for m in inside[-1:]] == ([affordable.max()] if len(affordable) else [])


def test_a_student_that_asked_nothing_is_on_no_front():
    reference = Reference(0.1, 1000)
    front = final_front(["finished"] * 2, [0, 100], [0.1, 0.9], reference)
    assert front.members.tolist() == [1]
    assert anytime_front([0, 100], [0.1, 0.9], reference).members.tolist() == [1]


def test_the_score_says_which_field_ranks_the_records():
    records = [
        trial(0, queries=100, val_accuracy=0.5, agreement=0.9),
        trial(1, queries=200, val_accuracy=0.6, agreement=0.8),
        trial(2, queries=50, val_accuracy=None, agreement=0.3),
    ]
    assert front_of_records(records, "val_accuracy", REFERENCE).members.tolist() == [0, 1]
    assert front_of_records(records, "agreement", REFERENCE).members.tolist() == [2, 0]
