"""What an API tells of its probabilities, as formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_trial import linear, pictures

from raysys.teacher.limits import LimitedTeacher, Probabilities, limited
from raysys.teacher.local import TorchTeacher


@st.composite
def rows(draw: st.DrawFn) -> Probabilities:
    """Softmax outputs (n, classes): flat, peaked, with ties and zeros."""
    classes = draw(st.integers(2, 30))
    logits = st.floats(-40, 10) | st.sampled_from([-np.inf, 0.0])
    row = st.lists(logits, min_size=classes, max_size=classes).filter(lambda one: max(one) > -np.inf)
    table = np.asarray(draw(st.lists(row, min_size=1, max_size=3)))
    weights = np.exp(table - table.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


TOP = st.none() | st.integers(1, 31)
DECIMALS = st.none() | st.integers(0, 7)


@given(rows(), TOP, DECIMALS)
def test_rows_are_probabilities_in_the_teachers_order(
    probabilities: Probabilities, top_k: int | None, decimals: int | None
) -> None:
    told = limited(probabilities, top_k, decimals)
    assert told.dtype == np.float32
    assert told.shape == probabilities.shape
    assert (told >= 0).all()
    np.testing.assert_allclose(told.sum(axis=1), 1, atol=1e-5)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(told, order, axis=1), axis=1) <= 1e-6).all()


@given(rows(), st.integers(1, 31))
def test_the_largest_are_told_exactly_and_the_rest_evenly(probabilities: Probabilities, top_k: int) -> None:
    told = limited(probabilities, top_k, None)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    first, rest = (np.take_along_axis(told, part, axis=1) for part in (order[:, :top_k], order[:, top_k:]))
    np.testing.assert_allclose(first, np.take_along_axis(probabilities, order[:, :top_k], axis=1), atol=1e-6)
    if rest.size:
        even = (1 - first.sum(axis=1, keepdims=True)) / rest.shape[1]
        np.testing.assert_allclose(rest, np.broadcast_to(even, rest.shape), atol=1e-6)


@given(rows(), TOP, st.integers(1, 7))
def test_told_ones_are_equal_up_to_rounding(
    probabilities: Probabilities, top_k: int | None, decimals: int
) -> None:
    """Before the row is brought to a sum of 1: the told ones keep the ratios of the rounded ones."""
    told = limited(probabilities, top_k, decimals).astype(np.float64)
    rounded = probabilities.astype(np.float64).round(decimals)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    told, rounded = (np.take_along_axis(one, order, axis=1) for one in (told, rounded))
    known = rounded[:, 0] > 0
    ratios = rounded[known] / rounded[known, :1]
    np.testing.assert_allclose(told[known] / told[known, :1], ratios, atol=1e-5)


@pytest.mark.parametrize(
    ("row", "top_k", "decimals", "expected"),
    [
        ([0.7, 0.2, 0.1], 1, None, [0.7, 0.15, 0.15]),
        ([0.7, 0.2, 0.1], 3, None, [0.7, 0.2, 0.1]),
        ([0.7, 0.2, 0.1], 9, None, [0.7, 0.2, 0.1]),
        ([0.66, 0.28, 0.06], None, 1, [0.7 / 1.1, 0.3 / 1.1, 0.1 / 1.1]),
        ([0.349, 0.3255, 0.3255], 1, 1, [1 / 3, 1 / 3, 1 / 3]),
        ([0.4, 0.3, 0.3], 1, 0, [1 / 3, 1 / 3, 1 / 3]),
        ([0.4, 0.3, 0.3], None, 0, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_by_hand(row: list[float], top_k: int | None, decimals: int | None, expected: list[float]) -> None:
    told = limited(np.asarray([row], np.float32), top_k, decimals)
    np.testing.assert_allclose(told, [expected], rtol=1e-5)


def test_a_limited_teacher_counts_like_the_one_behind_it_and_keeps_its_labels() -> None:
    sent: list[tuple[int, int]] = []

    class Notes:
        def sent(self, start: int, stop: int) -> None:
            sent.append((start, stop))

        def unsent(self, start: int, stop: int) -> None:
            raise AssertionError

    open_teacher = TorchTeacher(linear())
    teacher = LimitedTeacher(open_teacher, 1, 1)
    images = pictures(5)
    told, whole = teacher.predict(images, Notes()), open_teacher.answer(images)
    assert sent == [(0, 5)]
    assert told.labels.tolist() == whole.labels.tolist()
    assert told.probabilities is not None
    assert whole.probabilities is not None
    np.testing.assert_array_equal(told.probabilities, limited(whole.probabilities, 1, 1))
    assert (teacher.lanes, teacher.max_rows) == (open_teacher.lanes, open_teacher.max_rows)
