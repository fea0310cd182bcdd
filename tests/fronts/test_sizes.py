import numpy as np
from edge_runs import replicate, trial
from hypothesis import given
from hypothesis import strategies as st

from raysys.fronts.front import final_front, final_points
from raysys.fronts.goal import Goal
from raysys.fronts.hypervolume import Reference
from raysys.fronts.objectives import ACCURACY, QUERIES, SECONDS
from raysys.fronts.sizes import front_sizes
from raysys.records import TrialStatus

GOAL = Goal((ACCURACY, QUERIES, SECONDS), Reference(accuracy=0.1, queries=1000), {"val_accuracy": 0.2})
ENDS = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from(["finished", "finished", "finished", "stopped", "failed"]),
        st.sampled_from([0, 1, 10, 100]),
        st.sampled_from([None, np.nan, 0.15, 0.5, 0.9]),
        st.sampled_from([1.0, 2.0]),
    ),
    max_size=12,
)


@given(ENDS)
def test_sizes_are_those_of_the_front_after_each_end(ends):
    records = [
        replicate(n, TrialStatus(status), of=recipe, queries=queries, val_accuracy=accuracy, seconds=seconds)
        for n, (recipe, status, queries, accuracy, seconds) in enumerate(ends)
    ]
    columns = {name: [getattr(one, name) for one in records] for name in GOAL.names}
    sizes = front_sizes(final_points(records), columns, GOAL)
    fronts = [len(final_front(records[: n + 1], GOAL).members) for n in range(len(records))]
    assert sizes.tolist() == fronts


def test_a_tie_counts_twice():
    records = [trial(n, queries=10, val_accuracy=0.9, seconds=1.0) for n in range(2)]
    columns = {name: [getattr(one, name) for one in records] for name in GOAL.names}
    assert front_sizes(final_points(records), columns, GOAL).tolist() == [1, 2]
