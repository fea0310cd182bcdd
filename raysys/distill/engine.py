"""Who does the two heavy parts of a trial: training a generator against a student, and a pass over a pool."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from raysys.distill.generation import generate
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.image_pool import ImagePool
from raysys.distill.student import StudentTrainer
from raysys.models.generators import Generator
from raysys.records import Task


@dataclass(frozen=True)
class Generation:
    """The arguments of `generation.generate`."""

    generator: Generator
    student: nn.Module
    options: IdealOptions
    task: Task
    rng: torch.Generator


@dataclass(frozen=True)
class Pass:
    """A trainer, and the arguments of `StudentTrainer.run_pass`."""

    trainer: StudentTrainer
    pool: ImagePool
    rng: torch.Generator


class Engine(Protocol):
    """Does the work of the trials that it is given to."""

    def generate(self, work: Generation) -> tuple[Tensor, float]:
        """See `generation.generate`."""
        ...

    def run_pass(self, work: Pass) -> float:
        """See `StudentTrainer.run_pass`."""
        ...


class Alone:
    """An `Engine` that does each work when it comes, in the caller's thread."""

    def generate(self, work: Generation) -> tuple[Tensor, float]:
        """See `Engine.generate`."""
        return generate(work.generator, work.student, work.options, work.task, work.rng)

    def run_pass(self, work: Pass) -> float:
        """See `Engine.run_pass`."""
        return work.trainer.run_pass(work.pool, work.rng)


ALONE = Alone()
