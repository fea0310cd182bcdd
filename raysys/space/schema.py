"""What a space is: the data set, the teacher, the method and the parameters that are searched."""

import math
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from raysys.errors import nearest
from raysys.records import Scalar


class Strict(BaseModel):
    """Frozen data that refuses unknown keys, wrong types, NaN and infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def refuse(why: str, *path: str | int) -> PydanticCustomError:
    """The error of a key at `path` below the model that is checked; a loader turns it into file and line."""
    return PydanticCustomError("space", "{why}", {"why": why, "path": path})


class Recipe(Strict):
    """How a teacher is trained."""

    epochs: int = Field(ge=1, description="passes over the training set")
    batch_size: int = Field(128, ge=1, description="images per step")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd has Nesterov's momentum")
    lr: float = Field(0.1, gt=0, description="peak learning rate")
    weight_decay: float = Field(5e-4, ge=0, description="the optimizer's weight decay")
    augment: float = Field(0.0, ge=0, le=1, description="strength of the label-safe augmentation")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="how the learning rate falls")
    seed: int = Field(0, ge=0, description="seed of its weights and batches")


KIND_KEYS = ("architecture", "recipe", "weights", "program", "http")
"""The keys of a teacher that say which kind it is."""


class HttpSpec(Strict):
    """A teacher behind a server of the Open Inference Protocol v2 (KServe, Triton, MLServer, ...)."""

    url: str = Field(description="http:// or https://, before /v2; no key in it")
    model: str | None = Field(None, description="the model's name there; none for the space's name")
    input: str | None = Field(None, description="the input tensor; none for the model's only one")
    output: str | None = Field(None, description="the output tensor; none for the one that fits `response`")
    scores: Literal["probabilities", "logits"] = Field("probabilities", description="what float outputs are")
    timeout_s: float = Field(30.0, gt=0, description="seconds that one HTTP request may take")
    retries: int = Field(5, ge=0, description="after timeouts, lost connections, 429 and 5xx")
    queries_per_second: float | None = Field(None, gt=0, description="rate limit, in images")
    concurrency: int = Field(4, ge=1, le=256, description="HTTP requests at once")
    max_rows: int = Field(256, ge=1, description="images in one HTTP request")
    api_key_env: str = Field("RAYSYS_API_KEY", description="the variable with the API key: RAYSYS_...")
    api_key_header: str = Field("Authorization", description="its header; Authorization gets `Bearer KEY`")

    @field_validator("url")
    @classmethod
    def _is_of_a_server(cls, url: str) -> str:
        start, scheme, rest = url.partition("://")
        if "@" in (rest if scheme else start).partition("/")[0]:
            raise refuse("must hold no user and no password: the key belongs into the environment variable")
        if not scheme:
            raise refuse(f"has no http:// or https://: write http://{url}")
        if not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", url):
            raise refuse(
                "is not the address of a server: write http://HOST:PORT or https://HOST/PATH, no ? or #"
            )
        return url

    @field_validator("api_key_env")
    @classmethod
    def _is_ours(cls, name: str) -> str:
        if not re.fullmatch(r"RAYSYS_[A-Z0-9_]+", name):  # else somebody's space sends it to their URL
            raise refuse(f"{name!r} must begin with RAYSYS_: no space may send another secret away")
        return name


class TeacherSpec(Strict):
    """A teacher trained here (architecture, recipe), loaded (architecture, weights), exported (program), or
    behind HTTP (http).

    `weights` is a path to safetensors or to a checkpoint of tensors only. `mean` and `std` (one number a
    channel, of pixels in [0, 1]) normalise inside the model; None leaves that to the data set's own.
    """

    architecture: str | None = Field(None, description="the network; with recipe or weights")
    recipe: Recipe | None = Field(None, description="how it is trained here, once: it is cached")
    weights: str | None = Field(None, description="safetensors, or a checkpoint of tensors; from this file")
    mean: list[float] | None = Field(None, description="a number a channel, taken from pixels in [0, 1]")
    std: list[float] | None = Field(None, description="a number a channel, that pixels are divided by")
    program: str | None = Field(None, description="a torch.export file (.pt2); from this file")
    trusted: bool = Field(False, description="the file may be unpickled; only for files you made yourself")
    http: HttpSpec | None = Field(None, description="a server that is asked for its answers")
    replicas: int = Field(1, ge=1, le=64, description="copies of the network, spread over the cluster")
    precision: Literal["auto", "float32"] = Field(
        "auto",
        description="auto: hard answers that are no near tie come in half precision where that is faster",
    )
    top_k: int | None = Field(None, ge=1, description="soft: only the k largest probabilities are told")
    decimals: int | None = Field(None, ge=0, le=7, description="soft: probabilities are rounded")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        parts = {name for name in KIND_KEYS if getattr(self, name) is not None}
        if parts not in ({"architecture", "recipe"}, {"architecture", "weights"}, {"program"}, {"http"}):
            raise refuse(
                "needs exactly one of: architecture and recipe, architecture and weights, program, http"
            )
        if self.http is not None and self.replicas > 1:
            raise refuse("a teacher behind HTTP has no replicas here: raise http.concurrency", "replicas")
        return self


class OwnTask(Strict):
    """A data set of your own: images become `image_shape` (channels, height, width)."""

    image_shape: list[PositiveInt] = Field(
        min_length=3, max_length=3, description="[channels, height, width]; images are resized to it"
    )
    num_classes: int = Field(ge=2, description="classes that the teacher tells apart")
    flip: bool = Field(False, description="a mirrored image keeps its class")


class Objective(Strict):
    """One objective of the search."""

    name: Literal["val_accuracy", "agreement", "queries", "seconds"] = Field(
        description="val_accuracy or agreement, and queries; seconds may be the third"
    )
    direction: Literal["maximize", "minimize"] = Field(
        description="maximize val_accuracy and agreement, minimize queries and seconds"
    )


class Limits(TypedDict, total=False):
    """What a trial must reach: at least what is maximised, at most what is minimised."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)  # type: ignore[misc]

    val_accuracy: Annotated[float, Field(ge=0, lt=1, description="the least val accuracy")]
    agreement: Annotated[float, Field(ge=0, lt=1, description="the least agreement with the teacher")]
    queries: Annotated[int, Field(ge=1, description="the most queries of a trial")]
    seconds: Annotated[float, Field(gt=0, description="the most seconds of a trial")]


class Resources(Strict):
    """What one trial holds while it runs."""

    cpus_per_trial: float = Field(1.0, ge=0, description="CPUs, which are also its threads")
    gpus_per_trial: float = Field(0.0, ge=0, description="GPUs; a share lets several trials have one")


class _Parameter(Strict):
    """What every parameter has.

    `option` is the method's option that it sets; None means the parameter's own name. The parameter is
    active only `when` each named parameter (or fixed option) has the given value, or one of a list.
    """

    option: str | None = Field(None, description="the method's option that it sets; none for its own name")
    when: dict[str, Scalar | Annotated[list[Scalar], Field(min_length=1)]] = Field(
        {}, description="searched only where these parameters or options have this value, or one of a list"
    )

    def allows(self, key: str, value: Scalar) -> bool:
        """True when `key` = `value` meets the condition on `key`, if there is one."""
        if key not in self.when:
            return True
        wanted = self.when[key]
        return any(same(value, one) for one in (wanted if isinstance(wanted, list) else [wanted]))


class IntRange(_Parameter):
    """An integer in [low, high], on a grid of `step` from `low`, or drawn on a log scale."""

    type: Literal["int"] = Field(description="an integer")
    low: int = Field(description="the smallest value")
    high: int = Field(description="the largest value")
    step: int = Field(1, ge=1, description="low, low + step, ..., high")
    log: bool = Field(False, description="drawn on a log scale; needs low > 0")

    @model_validator(mode="after")
    def _range(self) -> Self:
        check_range(self.low, self.high, self.step, self.log)
        if self.log and self.step != 1:
            raise refuse("a log scale has no step", "step")
        return self

    def contains(self, value: Scalar) -> bool:
        """True when `value` may be drawn."""
        return type(value) is int and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def probes(self) -> list[Scalar]:
        """The ends of the range, and the second value of its grid."""
        return sorted({self.low, min(self.low + self.step, self.high), self.high})


class FloatRange(_Parameter):
    """A number in [low, high], on a grid of `step` from `low`, or drawn on a log scale."""

    type: Literal["float"] = Field(description="a number")
    low: float = Field(description="the smallest value")
    high: float = Field(description="the largest value")
    step: float | None = Field(None, gt=0, description="low, low + step, ..., high; none for any number")
    log: bool = Field(False, description="drawn on a log scale; needs low > 0 and no step")

    @model_validator(mode="after")
    def _range(self) -> Self:
        check_range(self.low, self.high, self.step, self.log)
        if self.log and self.step is not None:
            raise refuse("a log scale has no step", "step")
        return self

    def contains(self, value: Scalar) -> bool:
        """True when `value` may be drawn."""
        if isinstance(value, bool | str) or not self.low <= value <= self.high:
            return False
        return self.step is None or on_grid(value - self.low, self.step)

    def probes(self) -> list[Scalar]:
        """The ends of the range."""
        return sorted({self.low, self.high})


class Categorical(_Parameter):
    """One of a list of values."""

    type: Literal["categorical"] = Field(description="one of a list")
    choices: list[Scalar] = Field(min_length=1, description="the values, each once")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for index, choice in enumerate(self.choices):
            if choice in self.choices[:index]:
                raise refuse(f"{choice!r} is given twice", "choices", index)
        return self

    def contains(self, value: Scalar) -> bool:
        """True when `value` may be drawn."""
        return any(same(value, choice) for choice in self.choices)

    def probes(self) -> list[Scalar]:
        """All choices."""
        return list(self.choices)


Parameter = Annotated[IntRange | FloatRange | Categorical, Field(discriminator="type")]


class Point(Strict):
    """A configuration to evaluate first. Active parameters that `values` leaves out are drawn."""

    label: str = Field("", description="what it is called in lists")
    values: dict[str, Scalar] = Field(description="values of searched parameters")


class Space(Strict):
    """A search: everything `raysys tune` needs to know but its budget of trials and machines."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="letters, digits, '.', '_' and '-'; runs are named after it",
    )
    description: str = Field("", description="a line for raysys spaces")
    dataset: str = Field(description="a shipped data set, a folder below the data root, or synthetic")
    task: OwnTask | None = Field(None, description="what images of your own are; none for a shipped data set")
    teacher: TeacherSpec = Field(
        description="architecture and recipe, architecture and weights, program, or http"
    )
    student: str = Field(description="the network that a trial trains")
    method: str = Field("ideal", description="how a trial finds what to ask")
    response: Literal["hard", "soft"] = Field(
        "hard", description="the teacher tells labels, or probabilities"
    )
    objectives: list[Objective] = Field(
        [
            Objective(name="val_accuracy", direction="maximize"),
            Objective(name="queries", direction="minimize"),
        ],
        min_length=1,
        description="val_accuracy (or agreement) up, queries down, and seconds down if that counts too",
    )
    limits: Limits = Field(
        Limits(),
        description="by objective: a trial below (queries, seconds: above) is not on the final front",
    )
    options: dict[str, Scalar] = Field(
        {}, description="the method's options that are fixed; others take the method's default"
    )
    parameters: dict[str, Parameter] = Field(description="what is searched: options of the method")
    points: list[Point] = Field([], description="configurations to try first")
    trials: int = Field(ge=1, description="trials of a run")
    price: float = Field(0.0, ge=0, description="USD that one query costs")
    held_out: int | None = Field(
        None, ge=4, description="most held-out images (val and test) that the teacher is asked; none for all"
    )
    resources: Resources = Field(Resources(), description="what one trial holds while it runs")
    smoke: dict[str, Any] = Field({}, description="overrides that make the search end in minutes")
    presets: dict[str, dict[str, Any]] = Field({}, description="overrides by name, for --preset")

    @field_validator("limits", mode="before")
    @classmethod
    def _without_none(cls, limits: Any) -> Any:
        """An override takes a limit away by setting it to null."""
        return {k: v for k, v in limits.items() if v is not None} if isinstance(limits, dict) else limits

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.response == "hard" and (self.teacher.top_k or self.teacher.decimals is not None):
            raise refuse("top_k and decimals are of probabilities: they need response: soft", "teacher")
        self._check_objectives()
        self._check_conditions()
        self._check_options()
        self._check_points()
        return self

    @property
    def bounds(self) -> Mapping[str, float]:
        """The limits, by objective."""
        return cast(Mapping[str, float], self.limits)

    def option(self, name: str) -> str:
        """The method's option that parameter `name` sets."""
        return self.parameters[name].option or name

    def ordered(self) -> list[tuple[str, IntRange | FloatRange | Categorical]]:
        """The parameters, each after those that its condition names."""
        graph = {
            name: [key for key in p.when if key in self.parameters] for name, p in self.parameters.items()
        }
        return [(name, self.parameters[name]) for name in TopologicalSorter(graph).static_order()]

    def is_active(self, name: str, values: Mapping[str, Scalar]) -> bool:
        """True when `values` (of the parameters before `name`) and the options meet its condition."""
        parameter = self.parameters[name]
        known = {**self.options, **values}
        return all(key in known and parameter.allows(key, known[key]) for key in parameter.when)

    def _check_objectives(self) -> None:
        names = [objective.name for objective in self.objectives]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise refuse(f"objective {name} is given twice", "objectives", index)
        for limit in self.limits:
            if limit not in names:
                raise refuse(f"is no objective of this space: {', '.join(names)}", "limits", limit)

    def _check_options(self) -> None:
        """Refuse two sources of one option, unless their conditions exclude each other."""
        names = list(self.parameters)
        for index, name in enumerate(names):
            option = self.option(name)
            if option in self.options:
                raise refuse(f"option {option} is fixed in `options` as well", "parameters", name)
            for other in names[:index]:
                if self.option(other) == option and not self._exclusive(name, other):
                    raise refuse(
                        f"sets option {option}, as {other} does under the same condition", "parameters", name
                    )

    def _exclusive(self, first: str, second: str) -> bool:
        one, two = self.parameters[first], self.parameters[second]
        for key in one.when.keys() & two.when.keys():
            wanted = one.when[key]
            if not any(
                two.allows(key, value) for value in (wanted if isinstance(wanted, list) else [wanted])
            ):
                return True
        return False

    def _check_conditions(self) -> None:
        for name, parameter in self.parameters.items():
            for key, wanted in parameter.when.items():
                path = ("parameters", name, "when", key)
                if key not in self.parameters and key not in self.options:
                    known = [*self.parameters, *self.options]
                    raise refuse(
                        " ".join(["no such parameter or option", nearest(key, known)]).strip(), *path
                    )
                other = self.parameters.get(key)
                for value in wanted if isinstance(wanted, list) else [wanted]:
                    if other is not None and not other.contains(value):
                        raise refuse(f"{key} can never be {value!r}", *path)
        try:
            self.ordered()
        except CycleError as error:
            cycle = error.args[1]
            raise refuse(f"conditions form a cycle: {' -> '.join(cycle)}", "parameters", cycle[0]) from None

    def _check_points(self) -> None:
        for index, point in enumerate(self.points):
            for key, value in point.values.items():
                path = ("points", index, "values", key)
                if key not in self.parameters:
                    raise refuse(
                        " ".join(["no such parameter", nearest(key, self.parameters)]).strip(), *path
                    )
                if not self.parameters[key].contains(value):
                    raise refuse(f"{value!r} is outside the range of {key}", *path)
                if not self.is_active(key, point.values):
                    raise refuse(f"{key} is not active here: its condition does not hold", *path)


def same(one: Scalar, other: Scalar) -> bool:
    """Equal, where true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def on_grid(distance: float, step: float) -> bool:
    """True when `distance` is a multiple of `step`, but for rounding."""
    return math.isclose(distance, round(distance / step) * step, rel_tol=1e-9, abs_tol=1e-12)


def check_range(low: float, high: float, step: float | None, log: bool) -> None:
    """Refuse a range that nothing can be drawn from."""
    if low > high:
        raise refuse(f"low={low} is above high={high}", "low")
    if log and low <= 0:
        raise refuse(f"a log scale needs low > 0, not {low}", "low")
    if step is not None and not on_grid(high - low, step):
        raise refuse(f"step={step} does not divide high - low = {high - low}", "step")
