"""The options of each method, checked at the door. No torch here: `raysys spaces` reads this module."""

from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raysys.errors import UsageError, nearest
from raysys.records import Scalar, Task

GROUP = "raysys.methods"
"""The entry points by which a package of somebody else's adds methods: name -> `module:OptionsClass`."""

METHODS = {
    "dfme": "raysys.distill.dfme_options:DfmeOptions",
    "db3kd": "raysys.distill.db3kd_options:Db3kdOptions",
    "ideal": "raysys.distill.ideal_options:IdealOptions",
    "noise": "raysys.distill.noise_options:NoiseOptions",
    "zsdb3kd": "raysys.distill.db3kd_options:Zsdb3kdOptions",
    "surrogate": "raysys.distill.surrogate_options:SurrogateOptions",
}
"""The shipped methods, as entry points would name them."""


class MethodOptions(BaseModel):
    """Options that every method has, and what the method is.

    `implementation` names the class that runs, a `raysys.distill.method.Method`, as `module:Class`: it is
    imported when a trial starts. `soft_only`: it needs the teacher's probabilities. `needs_images`: it is
    given real training images; any other method never sees one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    implementation: ClassVar[str]
    soft_only: ClassVar[bool] = False
    needs_images: ClassVar[bool] = False

    query_budget: int = Field(2000, ge=1, description="most images one trial may ask the teacher")

    def check_task(self, task: Task) -> None:
        """Refuse options that do not fit the task. Raises UsageError."""


class StudentOptions(MethodOptions):
    """How a student learns from the pool of asked images: the same recipe for all methods.

    After each round that asks, the student makes `passes` passes over the pool, at a constant rate. Then
    come `generations` final phases of `final_passes` each.
    """

    balance: bool = Field(True, description="draw pool images so that the teacher's classes are balanced")
    passes: int = Field(5, ge=0, le=1000, description="passes over the pool after each round or epoch")
    final_passes: int = Field(50, ge=0, le=10000, description="passes over the whole pool at the end")
    restart: bool = Field(False, description="start the final passes from a fresh student")
    train_batch: int = Field(128, ge=2, le=65536, description="student's mini-batch")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="student's optimizer")
    lr: float = Field(0.05, gt=0, le=10, description="student's learning rate")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="student's weight decay")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="schedule of the final passes")
    augment: float = Field(
        0.5, ge=0, le=1, description="strength of the label-safe augmentation of pool images"
    )
    mixup: float = Field(0.0, ge=0, le=10, description="mixup alpha on pool images; 0 is off")
    wrong_weight: float = Field(
        1.0, ge=1, le=10, description="weight of pool images that the student gets wrong; 1 is off"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged student; 0 is off")
    self_distill: float = Field(
        0.0, ge=0, le=1, description="weight of the previous generation's soft labels in the final passes"
    )
    generations: int = Field(1, ge=1, le=10, description="final phases, each taught by the one before")


RECIPE = tuple(
    name for name in StudentOptions.model_fields if name not in ("query_budget", "passes", "restart")
)
"""What acts on a student that is trained afresh: nothing is asked, no rounds come before its final phases."""


Model = TypeVar("Model", bound=MethodOptions)


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}  # reads every package's metadata


def known_methods() -> dict[str, EntryPoint]:
    """The methods by name; a shipped one keeps its name."""
    return {**_installed(), **{name: EntryPoint(name, value, GROUP) for name, value in METHODS.items()}}


def method_options(method: str) -> type[MethodOptions]:
    """The options of the method of that name. Raises UsageError: an unknown name, a broken package."""
    known = known_methods()
    if method not in known:
        raise UsageError(f"unknown method {method!r}", f"known: {', '.join(known)}", nearest(method, known))
    try:
        model = known[method].load()
    except Exception as error:  # whatever somebody else's package does
        raise UsageError(
            f"method {method} cannot be loaded",
            f"{known[method].value}: {type(error).__name__}: {error}",
            "its package says so in its entry points",
        ) from error
    if not (isinstance(model, type) and issubclass(model, MethodOptions)):
        raise UsageError(
            f"method {method} cannot be loaded",
            f"{known[method].value} is no raysys.distill.options.MethodOptions",
            "its package says so in its entry points",
        )
    return model


def described(method: str) -> str:
    """The method's name, and whether it is given real images; its name alone where its package is gone."""
    try:
        needs_images = method_options(method).needs_images
    except UsageError:
        return method
    return f"{method} (real images: not data-free)" if needs_images else method


def check_response(method: str, response: str) -> None:
    """Refuse a method that needs probabilities where the teacher tells labels only. Raises UsageError."""
    if method_options(method).soft_only and response != "soft":
        raise UsageError(
            f"method {method} cannot learn from a teacher that is {response}",
            "it needs the teacher's probabilities",
            "use --response soft if the teacher tells them, or another method",
        )


def parse_options(method: str, values: dict[str, Scalar]) -> MethodOptions:
    """The complete options of `method`, defaults filled in. Raises UsageError for a person."""
    model = method_options(method)
    return _parse(model, tuple(model.model_fields), values, f"method {method}")


def parse_recipe(values: Mapping[str, Scalar]) -> StudentOptions:
    """The recipe of a student that is trained afresh, defaults filled in. Raises UsageError for a person."""
    recipe = _parse(StudentOptions, RECIPE, values, "the student's recipe")
    if not recipe.final_passes:
        raise UsageError("final_passes=0: a fresh student would learn nothing", hint="use 1 or more")
    return recipe


def _parse(model: type[Model], known: Collection[str], values: Mapping[str, Scalar], whose: str) -> Model:
    for key in values:
        if key not in known:
            raise UsageError(
                f"unknown option {key!r} of {whose}", f"known: {', '.join(known)}", nearest(key, known)
            )
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        what = f"option {key}={first['input']!r} of {whose} cannot be used" if key else why
        hint = "raysys spaces NAME --method METHOD shows the options"
        raise UsageError(what, why if key else "", hint) from None
