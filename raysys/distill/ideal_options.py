"""The options of `ideal`."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from raysys.distill.noise_options import NOISE_KINDS, NoiseKind
from raysys.distill.options import StudentOptions
from raysys.errors import UsageError
from raysys.records import Task

OFFICIAL_EPOCHS = 400
"""The released loop stops generating here, and asks the same images from then on."""


class IdealOptions(StudentOptions):
    """Options of `ideal`: the published loop with labels asked once, and a proper student recipe.

    Each epoch generates `batch_size` images and asks the teacher for them while the budget lasts.
    """

    implementation: ClassVar[str] = "raysys.distill.ideal:Ideal"

    labels: Literal["once", "official"] = Field(
        "once", description="official: views of all images are asked anew in each epoch, as released"
    )
    batch_size: int = Field(250, ge=1, description="images generated and asked per epoch")
    epochs: int = Field(
        10, ge=1, description="epochs; with labels once, those after the budget is spent only train"
    )
    warmup_share: float = Field(0.0, ge=0, le=1, description="share of the budget spent on noise")
    warmup_kind: NoiseKind = Field("structured", description=NOISE_KINDS)
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

    precision: Literal["auto", "float32"] = Field(
        "auto", description="auto: the generator computes in bfloat16 where the machine has it"
    )

    augment_query: float = Field(
        0.0, ge=0, le=1, description="strength of the augmentation of images before they are asked"
    )

    high_entropy: int = Field(
        0, ge=0, le=100, description="steps that make the student unsure of a generated image; DFHL-RS: 10"
    )
    confidence_filter: float = Field(
        1.0, gt=0, le=1, description="most that the student may give one class of what is asked; QEDG: 0.7"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.query_budget < self.batch_size:
            raise ValueError(
                f"query_budget must be at least batch_size, but got query_budget={self.query_budget}, "
                f"batch_size={self.batch_size}"
            )
        if self.labels == "official" and self.epochs > OFFICIAL_EPOCHS:
            raise ValueError(
                f"with labels=official epochs must be at most {OFFICIAL_EPOCHS}, but got epochs={self.epochs}"
            )
        return self

    def check_task(self, task: Task) -> None:
        """`batch_size` must be a multiple of the classes (targets are balanced), sides of 4 (the generator
        doubles them twice), `confidence_filter` above one over the classes. Raises UsageError.
        """
        if self.confidence_filter <= 1 / task.num_classes:
            raise UsageError(
                f"confidence_filter={self.confidence_filter} would refuse every image",
                f"with {task.num_classes} classes a top probability is at least {1 / task.num_classes:.3g}",
                "the published value is 0.7",
            )
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
