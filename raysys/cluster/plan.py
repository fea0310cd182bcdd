"""Checks of a space against its data set and its method's options, before any work. No torch, no ray."""

from collections.abc import Iterator
from itertools import combinations, product

from raysys.data.datasets import DATASETS, SYNTHETIC, dataset_info
from raysys.distill.options import check_response, method_options, parse_options
from raysys.errors import SpaceError, UsageError, nearest
from raysys.fronts.objectives import AGREEMENT, TESTED, score
from raysys.records import Scalar, Task
from raysys.space.load import apply_overrides, for_method
from raysys.space.schema import Space

FLOOR = 1.5
"""A student must beat chance by this factor to be feasible for the searcher."""

OBJECTIVES = [{(name, "maximize"), ("queries", "minimize")} for name in TESTED]
"""What a search can be about; `SECONDS` may be a third."""

SECONDS = ("seconds", "minimize")

SYNTHETIC_IMAGES = 1000
"""Held-out images that are made where a space does not say how many."""

AGREEMENT_LINE = "objectives: [{name: agreement, direction: maximize}, {name: queries, direction: minimize}]"
"""What a space says to rank students without labels."""


def check_space(space: Space) -> Task:
    """The task of `space`, after trying its points and the ends of every two ranges on the method's options.

    Any two ends must fit together, whatever the conditions: a query budget that is smaller than the largest
    batch is found here, and not by the trial that draws both. Raises SpaceError with the key at fault, and
    DataError for an unknown data set.
    """
    task = space_task(space)
    if {(one.name, one.direction) for one in space.objectives} - {SECONDS} not in OBJECTIVES:
        raise SpaceError(
            f"space {space.name}: objectives: only val_accuracy or agreement up, and queries down",
            "fronts and hypervolume are of these two; seconds down may be a third",
            f"leave out the key objectives, or write {AGREEMENT_LINE}",
        )
    if space.dataset == SYNTHETIC:
        check_without_labels(space)
    _check_method(space)
    for what, values in _candidates(space):
        try:
            parse_options(space.method, {**space.options, **values}).check_task(task)
        except UsageError as error:
            raise SpaceError(f"space {space.name}: {what}: {error.what}", error.why, error.hint) from None
    smallest, _ = budget_range(space)
    if (most := space.limits.get("queries", smallest)) < smallest:
        raise SpaceError(
            f"space {space.name}: limits.queries: no trial can stay within {most:,} queries",
            f"the smallest query budget is {smallest:,}",
            f"raise the limit to {smallest} or more, or lower query_budget",
        )
    return task


def with_method(space: Space, method: str) -> Space:
    """`space` for that method; what only its own one knows is left out. Raises UsageError."""
    return space if method == space.method else for_method(space, method, method_options(method).model_fields)


def with_preset(space: Space, name: str) -> Space:
    """`space` with what its preset fixes, perhaps for another method. Raises UsageError, SpaceError."""
    if name not in space.presets:
        known = ", ".join(space.presets) or "none"
        raise UsageError(
            f"space {space.name} has no preset {name!r}", f"known: {known}", nearest(name, space.presets)
        )
    overrides = space.presets[name]
    chosen = with_method(space, str(overrides.get("method", space.method)))
    known_options = method_options(chosen.method).model_fields
    return apply_overrides(chosen, overrides, known_options, f"preset {name}")


def _check_method(space: Space) -> None:
    try:
        check_response(space.method, space.response)
    except UsageError as error:
        raise SpaceError(f"space {space.name}: {error.what}", error.why, error.hint) from None
    if space.dataset == SYNTHETIC and method_options(space.method).needs_images:
        raise SpaceError(
            f"space {space.name}: method {space.method} needs real images, data set {SYNTHETIC} has none",
            hint="use a data set with images, or another method",
        )


def check_without_labels(space: Space) -> None:
    """Refuse what needs labels, for data that has none. Raises SpaceError."""
    if space.teacher.recipe is not None:
        raise SpaceError(
            f"space {space.name}: teacher: recipe: data set {space.dataset} has no labels to train with",
            "only a teacher that needs no training can be used",
            "give its weights, program or http",
        )
    if score(one.name for one in space.objectives) != AGREEMENT.name:
        raise SpaceError(
            f"space {space.name}: objectives: data set {space.dataset} has no labels, so no accuracy",
            "students can be ranked by their agreement with the teacher",
            f"write {AGREEMENT_LINE}",
        )


def most_held_out(space: Space) -> int | None:
    """The most held-out images that the teacher is asked; None where only the data set knows."""
    return space.held_out or (SYNTHETIC_IMAGES if space.dataset == SYNTHETIC else None)


def space_task(space: Space) -> Task:
    """What a trial may know of the space's problem. Raises SpaceError, DataError for an unknown data set."""
    if space.task is None and space.dataset == SYNTHETIC:
        raise SpaceError(
            f"space {space.name}: task: made images need to know what the teacher takes",
            hint="write task: {image_shape: [3, 32, 32], num_classes: 10, flip: false}",
        )
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
