"""The options of `noise`."""

from typing import ClassVar, Literal

from pydantic import Field

from raysys.distill.options import StudentOptions

NoiseKind = Literal["uniform", "structured", "scribbles"]
NOISE_KINDS = "uniform: every pixel on its own; structured: power at all scales; scribbles: strokes of a pen"


class NoiseOptions(StudentOptions):
    """Options of `noise`: the whole budget is asked in equal rounds, without any generator."""

    implementation: ClassVar[str] = "raysys.distill.noise_rounds:Noise"

    kind: NoiseKind = Field("structured", description=NOISE_KINDS)
    rounds: int = Field(1, ge=1, le=1000, description="rounds, each with its passes")
    candidates: int = Field(
        1, ge=1, le=100, description="images made for one asked; the student picks the unclear ones"
    )
