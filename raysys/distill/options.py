"""The options of each method, checked at the door. No torch here: `raysys spaces` reads this module."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from raysys.errors import UsageError, nearest
from raysys.records import Scalar, Task


class MethodOptions(BaseModel):
    """Options that every method has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query_budget: int = Field(2000, ge=1, description="most images one trial may ask the teacher")

    def check_task(self, task: Task) -> None:
        """Refuse options that do not fit the task. Raises UsageError."""


class IdealOptions(MethodOptions):
    """Options of `ideal`: the published loop with labels asked once, and a proper student recipe.

    Each epoch generates `batch_size` images and asks the teacher for them while the budget lasts; then
    the student makes `passes` passes over the pool. `final_passes` more follow at the end.
    """

    batch_size: int = Field(250, ge=1, description="images generated and asked per epoch")
    epochs: int = Field(10, ge=1, description="epochs; those after the budget is spent only train")
    warmup_share: float = Field(0.0, ge=0, le=1, description="share of the budget spent on structured noise")
    warmup_rounds: int = Field(1, ge=1, le=100, description="rounds of the warm-up, each with its passes")
    warmup_candidates: int = Field(
        1, ge=1, le=100, description="noise images made for one asked; the student picks the unclear ones"
    )

    g_steps: int = Field(30, ge=1, le=1000, description="generator steps per epoch")
    g_lr: float = Field(1e-3, gt=0, le=1, description="generator learning rate (Adam)")
    g_width: int = Field(64, ge=8, le=512, description="generator channels")
    latent_dim: int = Field(256, ge=8, le=4096, description="size of the latent vector z")
    latent_lr: float = Field(0.0, ge=0, le=1, description="learning rate of z; 0 keeps z fixed, as published")
    reset_generator: bool = Field(True, description="re-initialise the generator each epoch, as published")
    entropy: Literal["per_sample", "batch_marginal"] = Field(
        "per_sample", description="published: per_sample; batch_marginal balances the classes instead"
    )
    entropy_weight: float = Field(5.0, ge=0, le=1000, description="weight of the entropy term")
    target_smoothing: float = Field(0.0, ge=0, lt=1, description="label smoothing of the generator's targets")

    augment_query: float = Field(
        0.0, ge=0, le=1, description="strength of the augmentation of images before they are asked"
    )
    balance: bool = Field(True, description="draw pool images so that the teacher's classes are balanced")

    passes: int = Field(5, ge=0, le=1000, description="passes over the pool per epoch")
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
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged student; 0 is off")
    self_distill: float = Field(
        0.0, ge=0, le=1, description="weight of the previous generation's soft labels in the final passes"
    )
    generations: int = Field(1, ge=1, le=10, description="final phases, each taught by the one before")

    @model_validator(mode="after")
    def _budget_holds_a_batch(self) -> Self:
        if self.query_budget < self.batch_size:
            raise ValueError(
                f"query_budget must be at least batch_size, but got query_budget={self.query_budget}, "
                f"batch_size={self.batch_size}"
            )
        return self

    def check_task(self, task: Task) -> None:
        """`batch_size` must be a multiple of the classes (targets are balanced), sides of 4 (the generator
        doubles them twice). Raises UsageError.
        """
        _, height, width = task.image_shape
        if height % 4 or width % 4:
            raise UsageError(
                f"method ideal cannot make images of {height}x{width} pixels, as {task.dataset} has",
                "its generator doubles the side twice",
                "use images whose sides are multiples of 4",
            )
        if self.batch_size % task.num_classes:
            multiple = max(1, round(self.batch_size / task.num_classes)) * task.num_classes
            raise UsageError(
                f"batch_size={self.batch_size} does not divide by the {task.num_classes} classes"
                f" of {task.dataset}",
                "each generated batch holds every class equally often",
                f"use -s batch_size={multiple}",
            )


OPTIONS: dict[str, type[MethodOptions]] = {"ideal": IdealOptions}
"""Method name -> its options. `raysys.distill.registry` maps the same names to the methods."""


def parse_options(method: str, values: dict[str, Scalar]) -> MethodOptions:
    """The complete options of `method`, defaults filled in. Raises UsageError for a person."""
    if method not in OPTIONS:
        raise UsageError(
            f"unknown method {method!r}", f"known: {', '.join(OPTIONS)}", nearest(method, OPTIONS)
        )
    model = OPTIONS[method]
    for key in values:
        if key not in model.model_fields:
            raise UsageError(
                f"unknown option {key!r} of method {method}",
                f"known: {', '.join(model.model_fields)}",
                nearest(key, model.model_fields),
            )
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        what = f"option {key}={first['input']!r} of method {method} cannot be used" if key else why
        raise UsageError(what, why if key else "", "raysys spaces NAME shows the ranges") from None
