import pytest

from raysys.cluster.caps import check_caps, doubled, most_queries, payable, run_caps, told
from raysys.errors import UsageError
from raysys.space.load import apply_overrides, load_space


@pytest.mark.parametrize(
    ("cost", "price", "images"),
    [(5.0, 0.001, 5000), (1.0, 0.1, 10), (0.3, 0.1, 3), (0.29, 0.1, 2), (7.0, 0.003, 2333), (0.05, 0.1, 0)],
)
def test_a_sum_pays_for_whole_images_whatever_floats_do(cost: float, price: float, images: int) -> None:
    assert payable({"cost": cost}, price) == images


def test_the_smaller_cap_binds() -> None:
    assert most_queries({"queries": 900, "cost": 2.0}, 0.001) == 900
    assert most_queries({"queries": 9000, "cost": 2.0}, 0.001) == 2000
    assert most_queries({}, 0.001) is None
    assert told({"queries": 9000, "cost": 2.5}) == "9,000 queries and 2.5 USD"


def test_a_cap_on_cost_needs_a_price() -> None:
    space = load_space("digits")
    with pytest.raises(UsageError, match=r"--max-cost 3 needs the price of a query"):
        run_caps(space, None, 3.0)
    priced = apply_overrides(space, {"price": 0.01})
    assert run_caps(priced, 500, 3.0) == {"queries": 500, "cost": 3.0}
    assert run_caps(priced, None, None) == {}


@pytest.mark.parametrize(
    ("caps", "options", "text"),
    [
        ({"queries": 750000}, "--max-queries 1500000", "750,000 queries"),
        ({"cost": 1.2}, "--max-cost 2.4", "1.2 USD"),
        (
            {"queries": 10, "cost": 1234567.5},
            "--max-queries 20 --max-cost 2469135",
            "10 queries and 1,234,567.5 USD",
        ),
    ],
)
def test_large_caps_are_told_in_full(caps: dict[str, float], options: str, text: str) -> None:
    assert (doubled(caps), told(caps)) == (options, text)


def test_larger_caps_replace_the_old_ones_at_a_resume() -> None:
    space = apply_overrides(load_space("digits"), {"price": 0.01})
    assert {"queries": 500.0, "cost": 3.0, **run_caps(space, 900, None)} == {"queries": 900, "cost": 3.0}


@pytest.mark.parametrize(("queries", "fits"), [(1096, False), (1097, True)])
def test_a_cap_must_pay_for_one_trial(queries: int, fits: bool) -> None:
    space = load_space("digits")
    if fits:
        check_caps({"queries": queries}, space, 797)
        return
    with pytest.raises(UsageError, match="allow at least 1097 queries"):
        check_caps({"queries": queries}, space, 797)
