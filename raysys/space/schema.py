"""What a space is: the data set, the teacher, the method and the parameters that are searched."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """Frozen data that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(Strict):
    """How a teacher is trained."""

    epochs: int = Field(ge=1, description="passes over the training set")
    batch_size: int = Field(128, ge=1, description="images per step")
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.1, gt=0, description="peak learning rate")
    weight_decay: float = Field(5e-4, ge=0)
    augment: float = Field(0.0, ge=0, le=1, description="strength of the label-safe augmentation")
    schedule: Literal["cosine", "constant"] = "cosine"
    seed: int = Field(0, ge=0)


class TeacherSpec(Strict):
    """A teacher trained here (architecture, recipe), loaded (architecture, weights) or exported (program).

    `weights` is a path to safetensors or to a checkpoint of tensors only. `mean` and `std` (one number a
    channel, of pixels in [0, 1]) normalise inside the model; None leaves that to the data set's own.
    """

    architecture: str | None = None
    recipe: Recipe | None = None
    weights: str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    program: str | None = None
    trusted: bool = Field(False, description="the file may be unpickled; only for files you made yourself")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = (self.architecture is not None, self.recipe is not None, self.weights is not None)
        trained_or_loaded = given in ((True, True, False), (True, False, True)) and self.program is None
        if not trained_or_loaded and not (given == (False, False, False) and self.program is not None):
            raise ValueError(
                "needs exactly one of: architecture and recipe, architecture and weights, program"
            )
        return self
