import math

import numpy as np
import pytest
from edge_runs import replicate, trial
from hypothesis import given
from hypothesis import strategies as st

from raysys.fronts.front import final_front, final_points
from raysys.fronts.goal import Goal
from raysys.fronts.history import History, front_history
from raysys.fronts.hypervolume import Reference, hypervolume
from raysys.fronts.objectives import ACCURACY, QUERIES
from raysys.fronts.pareto import nondominated
from raysys.fronts.points import numbered
from raysys.records import TrialStatus

GOAL = Goal((ACCURACY, QUERIES), Reference(accuracy=0.1, queries=1000), {"val_accuracy": 0.2})
ENDS = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from(["finished", "finished", "finished", "stopped", "failed"]),
        st.sampled_from([0, 1, 10, 100, 2000]),
        st.sampled_from([None, np.nan, 0.15, 0.5, 0.9, 1.0]),
    ),
    max_size=12,
)


def history_of(records):
    columns = {name: [getattr(one, name) for one in records] for name in GOAL.names}
    return front_history(final_points(records), columns, GOAL)


@given(ENDS)
def test_the_history_is_the_front_after_each_end_against_all_queries(ends):
    records = [
        replicate(number, TrialStatus(status), of=recipe, queries=queries, val_accuracy=accuracy)
        for number, (recipe, status, queries, accuracy) in enumerate(ends)
    ]
    history = history_of(records)
    assert history.queries.tolist() == np.cumsum([one.queries for one in records]).tolist()
    fronts = [final_front(records[: number + 1], GOAL).hypervolume for number in range(len(records))]
    assert history.hypervolume.tolist() == pytest.approx(fronts, abs=1e-12)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(1, 1500), st.floats(0, 1.2) | st.just(math.nan)), max_size=60
    )
)
def test_the_history_is_that_of_the_simple_form_to_the_last_bit(ends):
    of, queries, accuracy = (np.array(column) for column in zip(*ends, strict=True)) if ends else [[]] * 3
    of = np.unique(of, return_inverse=True)[1]
    columns = {"queries": queries, "val_accuracy": accuracy}
    points = numbered(of, np.ones(len(of), dtype=np.bool_))
    sums, seen, volumes = np.zeros((10, 2)), np.zeros(10), []
    for point, row in zip(of, np.array([accuracy, queries], dtype=np.float64).T, strict=True):
        sums[point] += row
        seen[point] += 1
        costs = GOAL.scaled(sums[seen > 0] / seen[seen > 0, None])
        volumes.append(hypervolume(costs[nondominated(costs)]))
    assert front_history(points, columns, GOAL).hypervolume.tolist() == volumes


def test_a_second_seed_may_lower_the_front():
    records = [trial(0, queries=100, val_accuracy=0.9), replicate(1, of=0, queries=100, val_accuracy=0.3)]
    first, second = history_of(records).hypervolume
    assert first > second > 0


def test_queries_to_reach_a_hypervolume():
    history = History(np.array([100.0, 300.0, 600.0]), np.array([0.0, 0.4, 0.3]))
    assert [history.queries_to_reach(level) for level in (0.0, 0.1, 0.4, 0.41)] == [100, 300, 300, None]
    assert History(np.empty(0), np.empty(0)).queries_to_reach(0.0) is None
