from collections import Counter
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.search.samplers import thrifty_budget


@given(
    st.integers(0, 10**6),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 10**5),
    st.integers(0, 10**6),
    st.sampled_from([1.0, 2.0]),
)
def test_a_budget_is_in_its_range(number: int, start: float, low: int, more: int, thrift: float) -> None:
    assert low <= thrifty_budget(number, start, low, low + more, thrift) <= low + more


@pytest.mark.parametrize(("thrift", "next_octave"), [(1.0, 1.0), (2.0, 0.5)])
def test_thrift_says_what_an_octave_of_budgets_costs(thrift: float, next_octave: float) -> None:
    spent: Counter[int] = Counter()
    for number in range(20_000):
        budget = thrifty_budget(number, 0.3, 256, 4096, thrift)
        spent[min(3, int(log2(budget / 256)))] += budget
    for octave in range(3):
        assert spent[octave + 1] / spent[octave] == pytest.approx(next_octave, rel=0.1)


def test_a_few_budgets_cover_the_range_already() -> None:
    budgets = sorted(thrifty_budget(number, 0.7, 300, 5000, 1.0) for number in range(12))
    assert budgets[0] < 350
    assert budgets[-1] > 1500
    assert len(set(budgets)) == 12
