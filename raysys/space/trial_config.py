"""From the values of the searched parameters to a trial's config, and back."""

from collections.abc import Mapping

from raysys.records import Scalar, TrialConfig
from raysys.space.schema import Space


def resolve(space: Space, values: Mapping[str, Scalar], uid: str, seed: int) -> TrialConfig:
    """The config of the trial that has these parameter values: the space's options and the values.

    Options that the space does not name are left to the method's defaults.
    """
    searched = {space.option(name): value for name, value in values.items()}
    return TrialConfig(
        uid=uid,
        method=space.method,
        response=space.response,
        student=space.student,
        seed=seed,
        options={**space.options, **searched},
    )


def searched_values(space: Space, options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The parameter values that `resolve` made these options of: the active parameters' values.

    Raises KeyError when an active parameter's option is missing.
    """
    values: dict[str, Scalar] = {}
    for name, _ in space.ordered():
        if space.is_active(name, values):
            values[name] = options[space.option(name)]
    return values
