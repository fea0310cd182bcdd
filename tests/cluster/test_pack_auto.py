from raysys.cluster.pack_auto import largest, pack_size
from raysys.cluster.plan import check_space
from raysys.space.load import load_space


def test_on_cpus_a_trial_has_a_place_for_itself() -> None:
    space = load_space("digits")
    assert pack_size(space, check_space(space)) == 1


def test_the_largest_trial_has_the_largest_number_of_each_parameter() -> None:
    space = load_space("digits")
    options = largest(space)
    assert options["query_budget"] == max(space.parameters["query_budget"].probes(), key=float)
    assert options.keys() >= space.options.keys()
