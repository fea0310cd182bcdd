import pytest

from raysys.space.load import load_space
from raysys.space.trial_config import resolve, searched_values


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_config_and_values_go_both_ways(name: str) -> None:
    space = load_space(name)
    for point in space.points:
        config = resolve(space, point.values, uid="u00003", seed=11)
        assert (config.uid, config.seed, config.student) == ("u00003", 11, space.student)
        assert searched_values(space, config.options) == point.values
        complete = {**config.options, "ema": 0.0, "restart": False}
        assert searched_values(space, complete).keys() == point.values.keys()


def test_an_aliased_parameter_sets_its_option() -> None:
    space = load_space("digits")
    config = resolve(space, {"optimizer": "adamw", "lr_adamw": 0.002}, uid="u00000", seed=0)
    assert config.options["lr"] == 0.002
    assert "lr_adamw" not in config.options
    assert config.options["g_width"] == space.options["g_width"]
