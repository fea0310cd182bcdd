import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raysys.data.splits import split_val_test, stratified_choice, stratified_split


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


LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=100)


@given(LABELS, st.integers(0, 120), st.integers(0, 100))
def test_a_choice_has_exactly_as_many_as_asked_and_each_class_its_share(
    labels: list[int], count: int, seed: int
) -> None:
    array = np.array(labels, dtype=np.int64)
    chosen = stratified_choice(array, count, seed)
    assert len(np.unique(chosen)) == len(chosen) == min(count, len(labels))
    assert (np.diff(chosen) > 0).all()
    assert set(stratified_choice(array, count // 2, seed)) <= set(chosen), "a smaller one is part of it"
    for label in set(labels):
        share = len(chosen) / len(labels) * labels.count(label)
        assert abs((array[chosen] == label).sum() - share) <= len(set(labels))


def test_of_equal_classes_a_choice_takes_equally_many() -> None:
    labels = np.arange(1000) % 10
    assert np.bincount(labels[stratified_choice(labels, 50)]).tolist() == [5] * 10


def test_fewer_images_are_part_of_the_same_val_and_test() -> None:
    labels = np.arange(1000) % 10
    val, test = split_val_test(labels, most=101)
    assert (len(val), len(test)) == (50, 51)
    whole = split_val_test(labels)
    assert set(val) <= set(whole[0]) and set(test) <= set(whole[1])
    assert np.bincount(labels[val]).tolist() == [5] * 10
    assert all(map(np.array_equal, split_val_test(labels, most=1000), whole))


def test_images_without_labels_are_split_by_a_fixed_permutation() -> None:
    val, test = split_val_test(np.zeros(101, dtype=np.int64))
    assert (len(val), len(test)) == (50, 51)
    assert val[:8].tolist() != list(range(8))
    assert np.array_equal(val, split_val_test(np.zeros(101, dtype=np.int64))[0])
