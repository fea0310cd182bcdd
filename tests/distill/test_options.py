import re
from typing import Any

import pytest

from raysys.distill.ideal_options import IdealOptions
from raysys.distill.options import METHODS, method_options, parse_options
from raysys.errors import UsageError
from raysys.records import Task


def fields(method: str) -> dict[str, Any]:
    found: dict[str, Any] = method_options(method).model_json_schema()["properties"]
    return found


def out_of_range() -> list[tuple[str, str, Any]]:
    """Every option just outside of each of its limits, and with a value of another type."""
    cases: list[tuple[str, str, Any]] = []
    for method, name, field in ((known, *one) for known in METHODS for one in fields(known).items()):
        if "minimum" in field:
            cases.append((method, name, field["minimum"] - 1))
        if "maximum" in field:
            cases.append((method, name, field["maximum"] + 1))
        for edge in ("exclusiveMinimum", "exclusiveMaximum"):
            if edge in field:
                cases.append((method, name, field[edge]))
        if field["type"] == "integer":
            cases.append((method, name, 1.5))
        if field["type"] in ("integer", "number"):
            cases.append((method, name, float("nan")))
        cases.append((method, name, "nonsense"))
    return cases


@pytest.mark.parametrize(("method", "name", "value"), out_of_range())
def test_a_bad_value_is_refused_with_its_name(method: str, name: str, value: Any) -> None:
    message = re.escape(f"option {name}={value!r} of method {method} cannot be used") + r"\n  Input should be"
    with pytest.raises(UsageError, match=message):
        parse_options(method, {name: value})


@pytest.mark.parametrize("method", METHODS)
def test_every_option_has_a_limit_or_a_choice_and_says_what_it_does(method: str) -> None:
    for name, field in fields(method).items():
        assert field["description"], name
        assert field["type"] == "boolean" or {"enum", "minimum", "exclusiveMinimum"} & set(field), name


def test_values_of_a_command_line_are_understood() -> None:
    options = parse_options("ideal", {"lr": "0.01", "g_steps": "40", "restart": "true"})
    assert isinstance(options, IdealOptions)
    assert (options.lr, options.g_steps, options.restart) == (0.01, 40, True)


def test_complete_options_come_back_the_same() -> None:
    options = parse_options("ideal", {"lr": 0.01, "query_budget": 300})
    assert parse_options("ideal", options.model_dump()) == options


def test_a_budget_holds_at_least_one_batch() -> None:
    with pytest.raises(
        UsageError, match="query_budget must be at least batch_size, but got query_budget=249"
    ):
        parse_options("ideal", {"query_budget": 249, "batch_size": 250})
    parse_options("ideal", {"query_budget": 250, "batch_size": 250})


def test_unknown_names_come_with_the_nearest_known() -> None:
    with pytest.raises(UsageError, match=r"unknown option 'qery_budget'(?s:.*)did you mean: query_budget\?"):
        parse_options("ideal", {"qery_budget": 100})
    with pytest.raises(
        UsageError, match=r"unknown method 'idaal'\n  known: .*ideal.*\n  did you mean: ideal\?"
    ):
        parse_options("idaal", {})


@pytest.mark.parametrize(("threshold", "classes"), [(0.1, 10), (0.5, 2), (0.001, 100)])
def test_a_filter_that_would_refuse_every_image_is_refused(threshold: float, classes: int) -> None:
    task = Task("leaves", (3, 32, 32), classes, False)
    options = {"batch_size": 200, "confidence_filter": threshold}
    with pytest.raises(UsageError, match=f"confidence_filter={threshold} would refuse every image"):
        parse_options("ideal", options).check_task(task)
    parse_options("ideal", {**options, "confidence_filter": threshold + 0.01}).check_task(task)


@pytest.mark.parametrize(
    ("batch", "classes", "multiple"), [(125, 10, 120), (250, 12, 252), (3, 10, 10), (99, 10, 100)]
)
def test_a_batch_that_holds_no_class_equally_often_is_refused(
    batch: int, classes: int, multiple: int
) -> None:
    task = Task("leaves", (3, 32, 32), classes, False)
    with pytest.raises(
        UsageError, match=rf"batch_size={batch} does not divide by the {classes} classes of leaves"
    ):
        parse_options("ideal", {"batch_size": batch}).check_task(task)
    with pytest.raises(UsageError, match=rf"use -s batch_size={multiple}$"):
        parse_options("ideal", {"batch_size": batch}).check_task(task)
    parse_options("ideal", {"batch_size": multiple}).check_task(task)
