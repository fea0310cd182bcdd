from collections import Counter
from math import log2

from hypothesis import given
from hypothesis import strategies as st

from raysys.search.samplers import balanced_budget


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True), st.integers(1, 10**5), st.integers(0, 10**6))
def test_a_budget_is_in_its_range(number: int, start: float, low: int, more: int) -> None:
    assert low <= balanced_budget(number, start, low, low + more) <= low + more


def test_each_octave_of_budgets_costs_as_much() -> None:
    spent: Counter[int] = Counter()
    for number in range(4000):
        budget = balanced_budget(number, 0.3, 256, 4096)
        spent[min(3, int(log2(budget / 256)))] += budget
    mean = spent.total() / 4
    assert all(abs(queries - mean) < 0.1 * mean for queries in spent.values())


def test_a_few_budgets_cover_the_range_already() -> None:
    budgets = sorted(balanced_budget(number, 0.7, 300, 5000) for number in range(12))
    assert budgets[0] < 350
    assert budgets[-1] > 1500
    assert len(set(budgets)) == 12
