"""Checks of a space against its data set and its method's options, before any work. No torch, no ray."""

from collections.abc import Iterator
from itertools import combinations, product

from raysys.data.datasets import DATASETS, dataset_info
from raysys.distill.options import parse_options
from raysys.errors import SpaceError, UsageError
from raysys.records import Scalar, Task
from raysys.space.schema import Space

OBJECTIVES = {("val_accuracy", "maximize"), ("queries", "minimize")}
"""What every search is about."""


def check_space(space: Space) -> Task:
    """The task of `space`, after trying its points and the ends of every two ranges on the method's options.

    Any two ends must fit together, whatever the conditions: a query budget that is smaller than the largest
    batch is found here, and not by the trial that draws both. Raises SpaceError with the key at fault, and
    DataError for an unknown data set.
    """
    task = _task(space)
    if {(one.name, one.direction) for one in space.objectives} != OBJECTIVES:
        raise SpaceError(
            f"space {space.name}: objectives: only val_accuracy up and queries down so far",
            "fronts and hypervolume are of these two",
            "leave out the key objectives",
        )
    for what, values in _candidates(space):
        try:
            parse_options(space.method, {**space.options, **values}).check_task(task)
        except UsageError as error:
            raise SpaceError(f"space {space.name}: {what}: {error.what}", error.why, error.hint) from None
    return task


def _task(space: Space) -> Task:
    if space.task is None:
        return dataset_info(space.dataset).task
    if space.dataset in DATASETS:
        raise SpaceError(
            f"space {space.name}: task: {space.dataset} is a shipped data set",
            "its images and classes are known",
            "leave out the key task, or name your data set differently",
        )
    channels, height, width = space.task.image_shape
    return Task(space.dataset, (channels, height, width), space.task.num_classes, space.task.flip)


def _candidates(space: Space) -> Iterator[tuple[str, dict[str, Scalar]]]:
    """Option values to try, and where they come from; what is not tried is at its first value."""
    probes = {name: parameter.probes() for name, parameter in space.parameters.items()}
    first = {space.option(name): values[0] for name, values in probes.items()}
    yield "options", first
    for index, point in enumerate(space.points):
        values = {space.option(name): value for name, value in point.values.items()}
        yield f"points.{index}.values", {**first, **values}
    for name in probes:
        for value in probes[name]:
            yield f"parameters.{name}", {**first, space.option(name): value}
    for one, two in combinations(probes, 2):
        if space.option(one) != space.option(two):
            for value, other in product(probes[one], probes[two]):
                values = {space.option(one): value, space.option(two): other}
                yield f"parameters.{one} and {two}", {**first, **values}


def budget_range(space: Space) -> tuple[int, int]:
    """(smallest, largest) query budget that a trial of `space` can have, in images."""
    budgets = [
        value
        for name, parameter in space.parameters.items()
        if space.option(name) == "query_budget"
        for value in parameter.probes()
    ]
    if not budgets:
        budgets = [parse_options(space.method, dict(space.options)).query_budget]
    return int(min(budgets)), int(max(budgets))
