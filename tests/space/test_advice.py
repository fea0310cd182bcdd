import numpy as np
import pytest

from raysys.space.advice import advice
from raysys.space.schema import Categorical, FloatRange, IntRange

LR = FloatRange(type="float", low=1e-4, high=1.0, log=True)
EPOCHS = IntRange(type="int", low=0, high=100)
KIND = Categorical(type="categorical", choices=["a", "b"])


def test_a_front_in_half_of_the_range_narrows_it_on_its_own_scale() -> None:
    """A hundredth to a tenth is a quarter of this log range; linear, it were a tenth of it."""
    told = advice(LR, np.geomspace(0.01, 0.1, 11))
    assert told.do == "narrow"
    assert told.why == "nine tenths of the front have 0.01129 to 0.08972"
    assert advice(LR, np.geomspace(1e-4, 0.1, 11)).do == "keep"
    assert advice(EPOCHS, np.linspace(20, 80, 11)).do == "keep"


@pytest.mark.parametrize(("values", "end"), [([0, 2, 3, 8, 9, 50, 60, 90], "low"), ([100] * 9, "high")])
def test_a_front_at_a_bound_extends_the_range(values: list[float], end: str) -> None:
    told = advice(EPOCHS, np.array(values, dtype=np.float64))
    assert (told.do, told.at_bound) == ("extend", end)
    assert ("below" if end == "low" else "above") in told.why


def test_a_few_points_on_the_front_mark_a_bound_but_advise_nothing() -> None:
    told = advice(EPOCHS, np.array([100.0, 99.0]))
    assert (told.do, told.at_bound) == ("keep", "high")
    assert told.why == "2 points on the front have it, 8 are needed"
    assert advice(EPOCHS, np.empty(0)).at_bound == ""


def test_of_two_values_half_of_the_front_at_one_is_no_bound() -> None:
    two = IntRange(type="int", low=1, high=2)
    assert advice(two, np.array([1.0, 2.0] * 5)).do == "keep"
    assert advice(two, np.full(10, 2.0)).do == "extend"


def test_choices_that_are_not_on_the_front_are_dropped_when_that_can_be_no_chance() -> None:
    assert advice(KIND, np.zeros(8)).why == "none of 8 points on the front has b"
    assert advice(KIND, np.array([0.0] * 7 + [1.0])).do == "keep"
    five = Categorical(type="categorical", choices=list("abcde"))
    assert advice(five, np.zeros(8)) == advice(five, np.ones(8))
    assert advice(five, np.zeros(8)).do == "keep"


def test_a_parameter_with_one_value_is_kept() -> None:
    assert advice(IntRange(type="int", low=3, high=3), np.full(9, 3.0)).why == "it has one value"
