import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raysys.fronts.objectives import ACCURACY, QUERIES, to_minimise
from raysys.fronts.pareto import knee, layers, nondominated

# Few different values, so that ties and equal rows are common.
VALUES = st.one_of(st.integers(0, 5).map(float), st.just(np.nan), st.just(np.inf))
COSTS = st.tuples(st.integers(0, 12), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=VALUES)
)


def dominates(a, b):
    return (a <= b).all() and (a < b).any()


@given(COSTS)
def test_front_equals_the_definition(costs):
    finite = np.isfinite(costs).all(axis=1)
    expected = [
        bool(finite[i]) and not any(dominates(costs[j], costs[i]) for j in np.flatnonzero(finite))
        for i in range(len(costs))
    ]
    assert nondominated(costs).tolist() == expected


def test_to_minimise_turns_directions_and_takes_logs():
    costs = to_minimise([[0.9, 1000.0], [0.5, 0.0]], (ACCURACY, QUERIES))
    np.testing.assert_allclose(costs, [[-0.9, 3.0], [-0.5, 0.0]])


def test_a_row_with_one_missing_value_is_missing():
    assert np.isnan(to_minimise([[np.nan, 1000.0], [0.5, np.inf]], (ACCURACY, QUERIES))).all()


def test_to_minimise_wants_a_column_per_objective():
    with pytest.raises(ValueError, match=r"must be \(n, 2\), but got shape \(1, 3\)"):
        to_minimise([[1.0, 2.0, 3.0]], (ACCURACY, QUERIES))


def test_knee_is_the_corner_of_an_l_shaped_front():
    assert knee(np.array([[0.0, 10.0], [1.0, 1.0], [10.0, 0.0]])) == 1


def test_knee_does_not_depend_on_the_axes_scale():
    front = np.array([[0.0, 1.0], [0.2, 0.6], [0.5, 0.1], [1.0, 0.0]])
    assert knee(front) == knee(front * [1000.0, 0.01] + [5.0, -3.0]) == 2


@pytest.mark.parametrize(
    "front",
    [
        np.empty((0, 2)),
        np.array([[1.0, 2.0]]),
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]),
        np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]),
        np.array([[0.0, 1.0], [0.9, 0.9], [1.0, 0.0]]),
    ],
    ids=["empty", "one", "two", "two and a tie", "straight", "bulges away from the ideal"],
)
def test_fronts_without_a_knee(front):
    assert knee(front) is None


@given(COSTS)
def test_layers_are_fronts_taken_away_one_after_the_other(costs):
    left, expected = costs.copy(), np.full(len(costs), len(costs))
    for number in range(len(costs)):
        front = nondominated(left)
        expected[front] = number
        left[front] = np.nan
    assert layers(costs).tolist() == expected.tolist()
