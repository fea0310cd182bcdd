import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raysys.data.splits import split_val_test, stratified_split


@given(st.lists(st.integers(0, 5), max_size=200), st.floats(0, 1), st.integers(0, 100))
def test_a_split_is_disjoint_complete_and_stratified(labels: list[int], share: float, seed: int) -> None:
    array = np.array(labels, dtype=np.int64)
    first, second = stratified_split(array, share, seed)
    assert sorted([*first, *second]) == list(range(len(labels)))
    for label in set(labels):
        assert abs((array[first] == label).sum() - share * labels.count(label)) <= 0.5


def test_val_and_test_are_stable_halves() -> None:
    labels = np.arange(1000) % 10
    val, test = split_val_test(labels)
    assert len(val) == len(test) == 500
    assert val[:8].tolist() == [1, 12, 18, 19, 20, 23, 25, 26]
    assert not np.array_equal(val, split_val_test(labels, seed=1)[0])
