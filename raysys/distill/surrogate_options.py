"""The options of `surrogate`."""

from typing import ClassVar

from pydantic import Field

from raysys.distill.options import StudentOptions


class SurrogateOptions(StudentOptions):
    """Options of `surrogate`: the budget is asked in equal rounds, of real training images. Not data-free."""

    implementation: ClassVar[str] = "raysys.distill.surrogate:Surrogate"
    needs_images: ClassVar[bool] = True

    rounds: int = Field(1, ge=1, le=1000, description="rounds, each with its passes")
    candidates: int = Field(
        1, ge=1, le=100, description="real images looked at for one asked; the student picks the unclear ones"
    )
