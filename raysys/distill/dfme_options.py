"""The options of `dfme`."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from raysys.distill.options import StudentOptions
from raysys.errors import UsageError
from raysys.records import Task


class DfmeOptions(StudentOptions):
    """Options of `dfme`; where the defaults differ from the published values, those are in the description.

    One iteration costs `iteration_cost` queries; `query_budget` must pay for one.
    """

    implementation: ClassVar[str] = "raysys.distill.dfme:Dfme"
    soft_only: ClassVar[bool] = True

    batch: int = Field(16, ge=2, le=4096, description="images of one step (published: 256)")
    g_iter: int = Field(1, ge=0, le=100, description="generator steps per iteration; 0 leaves it untrained")
    d_iter: int = Field(5, ge=1, le=1000, description="student steps per iteration, each on new images")
    replay: int = Field(
        50, ge=0, le=1000, description="student steps per iteration on answers that it has (published: 0)"
    )
    directions: int = Field(1, ge=1, le=1000, description="moves of an image for one gradient (m)")
    moves: Literal["signs", "published"] = Field(
        "signs", description="signs: whole grey levels; published: before the tanh, lost in 8 bits"
    )
    levels: int = Field(2, ge=1, le=64, description="grey levels by which signs move every pixel")
    epsilon: float = Field(1e-3, gt=0, le=100, description="length of a published move, before the tanh")
    floor: float = Field(
        1e-9, gt=0, lt=0.1, description="least probability that counts; half the last digit an API tells"
    )

    g_lr: float = Field(
        1e-4, gt=0, le=1, description="generator's learning rate, Adam (published for SVHN: 5e-5)"
    )
    s_lr: float = Field(0.1, gt=0, le=10, description="student's learning rate in the game, SGD")
    lr_steps: Literal["cifar", "svhn", "none"] = Field(
        "svhn", description="both rates times 0.3 at 50, 80 % of the iterations; cifar: at 10, 30, 50 %"
    )
    g_width: int = Field(64, ge=8, le=512, description="generator channels")
    latent_dim: int = Field(256, ge=8, le=4096, description="size of the latent vector z")

    rounds: int = Field(20, ge=1, le=10000, description="reports of the game, each with its passes")
    passes: int = Field(0, ge=0, le=1000, description="passes over the pool after each round (published: 0)")
    augment: float = Field(
        0.0, ge=0, le=1, description="strength of the augmentation of pool images; soft labels change with it"
    )
    pool_limit: int = Field(
        100_000, ge=0, description="most answered images kept, the first ones; 0 keeps none"
    )

    @property
    def iteration_cost(self) -> int:
        """Queries of one iteration: batch * (g_iter * (directions + 1) + d_iter)."""
        return self.batch * (self.g_iter * (self.directions + 1) + self.d_iter)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.query_budget < self.iteration_cost:
            raise ValueError(
                f"query_budget must pay for one iteration, batch * (g_iter * (directions + 1) + d_iter) = "
                f"{self.iteration_cost:,} queries, but got query_budget={self.query_budget:,}"
            )
        if not self.pool_limit and (self.replay or self.passes or self.final_passes):
            raise ValueError(
                "with pool_limit=0 replay, passes and final_passes must be 0: no image is kept for them"
            )
        return self

    def check_task(self, task: Task) -> None:
        """Sides must be multiples of 4: the generator doubles them twice. Raises UsageError."""
        _, height, width = task.image_shape
        if height % 4 or width % 4:
            raise UsageError(
                f"method dfme cannot make images of {height}x{width} pixels, as {task.dataset} has",
                "its generator doubles the side twice",
                "use images whose sides are multiples of 4",
            )
