import numpy as np
import pytest

from raysys.fronts.bootstrap import difference_interval


def test_pairs_with_a_constant_difference_leave_no_doubt():
    low, high = difference_interval([0.5, 0.7, 0.9], [0.4, 0.6, 0.8], paired=True)
    assert (low, high) == (pytest.approx(0.1), pytest.approx(0.1))
    apart = difference_interval([0.5, 0.7, 0.9], [0.4, 0.6, 0.8], paired=False)
    assert apart[0] < 0 < apart[1]


def test_the_interval_is_that_of_the_normal_law_for_many_values():
    rng = np.random.default_rng(1)
    values, others = rng.normal(1.0, 2.0, 400), rng.normal(0.5, 1.0, 300)
    low, high = difference_interval(values, others, paired=False)
    mean = values.mean() - others.mean()
    error = 1.96 * np.hypot(values.std() / 400**0.5, others.std() / 300**0.5)
    assert low == pytest.approx(mean - error, abs=0.02)
    assert high == pytest.approx(mean + error, abs=0.02)


def test_it_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    inside = 0
    for seed in range(100):
        low, high = difference_interval(rng.normal(0.2, 1, 40), rng.normal(0, 1, 40), False, seed)
        inside += low <= 0.2 <= high
    assert 88 <= inside <= 100


def test_the_same_seed_gives_the_same_interval():
    values, others = [0.1, 0.4, 0.3], [0.2, 0.1, 0.2, 0.5]
    assert difference_interval(values, others, False) == difference_interval(values, others, False)
    assert difference_interval(values, others, False) != difference_interval(values, others, False, seed=1)


@pytest.mark.parametrize(("values", "others", "paired"), [([], [1.0], False), ([1.0], [1.0, 2.0], True)])
def test_what_cannot_be_compared_is_refused(values, others, paired):
    with pytest.raises(ValueError, match="paired ones as many"):
        difference_interval(values, others, paired)
