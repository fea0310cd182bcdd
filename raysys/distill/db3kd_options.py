"""The options of `db3kd` and `zsdb3kd`, and what a sample costs."""

from typing import ClassVar, Literal

from pydantic import Field

from raysys.distill.options import StudentOptions
from raysys.errors import UsageError
from raysys.records import Task


class Db3kdOptions(StudentOptions):
    """Options of `db3kd`: real images with soft labels from their distances to the teacher's boundaries.

    As released: distance minimal, candidates 201, bisections 20, rounds 88, neighbours 200, turns 5,
    learn_from samples. The release looks at up to 201 images of a class, stops a bisection at 1e-5, and ends
    the descent after 20,000 queries a boundary, here 19,800; a sample of ten classes costs 216,190 at most.
    The defaults are for small budgets: on 16 digits and a small network the rank correlation of soft labels
    with its logits was 0.72 for sample, 0.77 for boundary at 17 queries a boundary, 0.83 for minimal at 115,
    and still 0.83 at 4,500.
    """

    implementation: ClassVar[str] = "raysys.distill.db3kd:Db3kd"
    needs_images: ClassVar[bool] = True

    distance: Literal["sample", "boundary", "minimal"] = Field(
        "boundary",
        description="to a class: sample: its nearest image; boundary: on the way there; minimal: the nearest",
    )
    candidates: int = Field(1, ge=1, le=1000, description="images of a class to search the boundary towards")
    bisections: int = Field(3, ge=1, le=30, description="halvings of the line to an image")
    rounds: int = Field(1, ge=0, le=1000, description="minimal: rounds that turn the line to the boundary")
    neighbours: int = Field(10, ge=2, le=1000, description="images asked around a boundary point in a round")
    turns: int = Field(3, ge=1, le=10, description="turned lines asked in a round")
    block: int = Field(
        100, ge=1, le=10000, description="samples whose distances are searched together, at most"
    )
    soft_weight: float = Field(
        0.5, ge=0, le=1, description="weight of the soft label beside the teacher's label"
    )
    temperature: float = Field(
        4.0, gt=0, le=1000, description="divides the reciprocal distances in soft labels"
    )
    learn_from: Literal["samples", "all"] = Field(
        "all",
        description="samples: as published; all: images asked in searches, too, with the teacher's label",
    )

    def search_queries(self, candidates: int, rounds: int) -> int:
        """The most that the search of one boundary costs: S of the module `db3kd`."""
        return candidates * (1 + self.bisections) + rounds * (self.neighbours + self.turns + self.bisections)

    def sample_queries(self, num_classes: int) -> int:
        """The most that a sample costs: see the module `db3kd`."""
        return 1 + self.label_queries(num_classes)

    def label_queries(self, num_classes: int) -> int:
        """The most that a soft label costs, without the sample's own query."""
        if self.distance == "sample":
            return 0
        rounds = self.rounds if self.distance == "minimal" else 0
        return (num_classes - 1) * self.search_queries(self.candidates, rounds)

    def check_task(self, task: Task) -> None:
        """A budget must pay for one sample. Raises UsageError."""
        least = self.sample_queries(task.num_classes)
        if self.query_budget < least:
            raise UsageError(
                f"query_budget={self.query_budget} is less than one sample can cost",
                f"with {task.num_classes} classes that is {least:,} queries",
                f"use -s query_budget={least} or more, smaller counts, or -s distance=sample",
            )


class Zsdb3kdOptions(Db3kdOptions):
    """Options of `zsdb3kd`: the same with pseudo-samples in the place of images.

    As released: moves 40, step 0.5, search_candidates 20, search_rounds 22, block 2000, and what `db3kd` has.
    The release spends about 5,000 queries before each move, here 5,370 at most; a pseudo-sample of ten
    classes costs 431,112 at most, half of it before its soft label. The release makes 3,000 of each class.
    """

    implementation: ClassVar[str] = "raysys.distill.zsdb3kd:Zsdb3kd"
    needs_images: ClassVar[bool] = False

    noise_per_sample: int = Field(
        3,
        ge=1,
        le=1000,
        description="noise images asked for a sample, at most, to have all classes equally often",
    )
    moves: int = Field(2, ge=0, le=1000, description="moves of a sample away from its nearest boundary")
    step: float = Field(0.5, gt=0, le=10, description="length of a move, in units of a pixel's full range")
    halvings: int = Field(2, ge=0, le=20, description="halved moves that are tried where the label changes")
    search_candidates: int = Field(1, ge=1, le=1000, description="images searched towards before each move")
    search_rounds: int = Field(0, ge=0, le=1000, description="rounds that turn the line before each move")

    def sample_queries(self, num_classes: int) -> int:
        """The most that a pseudo-sample costs: see the module `zsdb3kd`."""
        move = self.search_queries(self.search_candidates, self.search_rounds) + 1 + self.halvings
        return self.noise_per_sample + self.moves * move + self.label_queries(num_classes)
