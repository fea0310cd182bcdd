from raysys.space.difference import difference
from raysys.space.load import apply_overrides, digest, digest_of, load_space, to_json

OLD = to_json(load_space("digits"))


def test_what_a_run_wrote_is_no_difference() -> None:
    space = load_space("digits")
    assert difference(OLD, to_json(space.model_copy(update={"trials": 3, "description": "other"}))) == []
    assert digest_of(OLD) == digest(space)


def test_keys_are_told_with_their_ranges() -> None:
    new = {**OLD, "held_out": 100, "parameters": dict(OLD["parameters"])}
    del new["parameters"]["mixup"]
    new["parameters"]["lr_sgd"] = {**OLD["parameters"]["lr_sgd"], "low": 1.0e-5}
    new["parameters"]["novel"] = {"type": "categorical", "choices": ["a", "b"]}
    assert difference(OLD, new) == [
        "removed: mixup",
        "added: novel {a, b}",
        "changed: held_out None -> 100, lr_sgd [0.01, 0.2] log option=lr when={'optimizer': 'sgd'} ->"
        " [1e-05, 0.2] log option=lr when={'optimizer': 'sgd'}",
    ]


def test_a_range_that_was_fixed_is_told() -> None:
    space = apply_overrides(load_space("digits"), {"g_steps": 7})
    assert difference(OLD, to_json(space)) == ["changed: points, g_steps [3, 30] log -> 7"]


def test_where_a_teachers_server_is_does_not_count() -> None:
    one, two = ({**OLD, "teacher": {"http": {"url": url, "model": "m"}}} for url in ("http://a", "http://b"))
    assert difference(one, two) == []
    assert difference(one, OLD)
