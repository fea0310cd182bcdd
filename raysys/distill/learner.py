"""The student from its first pass to its last: the one recipe that all methods share."""

import copy
from typing import Any

import torch
from torch import nn

from raysys.distill.engine import ALONE, Engine, Pass
from raysys.distill.image_pool import ImagePool
from raysys.distill.options import StudentOptions
from raysys.distill.student import StudentTrainer
from raysys.models.classifiers import build_classifier
from raysys.records import Task
from raysys.seeding import part_seed

FINAL_PARTS = 5
"""How often a final phase stops for a report and a checkpoint."""


class Learner:
    """A student that makes passes while images are asked, and then goes through its final phases.

    Each generation's initial weights depend on `seed` (the trial's) and `architecture` alone.
    """

    def __init__(
        self,
        architecture: str,
        options: StudentOptions,
        task: Task,
        seed: int,
        device: str = "cpu",
        engine: Engine = ALONE,
    ) -> None:
        self._engine = engine
        self._architecture = architecture
        self._options = options
        self._task = task
        self._seed = seed
        self._device = device
        self._generation = 0
        self._in_final_phase = False
        self._primer: nn.Module | None = None
        self._trainer = StudentTrainer(self._fresh(), options, task)

    @property
    def student(self) -> nn.Module:
        """The student as it would be delivered now, in whatever mode it is."""
        return self._trainer.best

    @property
    def network(self) -> nn.Module:
        """The network that is trained now: `student` without its running average."""
        return self._trainer.student

    def copied(self) -> "Learner":
        """One that goes its own way from here, worked on by the same engine."""
        return copy.deepcopy(self, {id(self._engine): self._engine})

    def run_passes(self, pool: ImagePool, rng: torch.Generator) -> float:
        """The `passes` after a round; the last one's mean loss, 0 if there is none."""
        loss = 0.0
        for _ in range(self._options.passes):
            loss = self._engine.run_pass(Pass(self._trainer, pool, rng))
        return loss

    def final_part(self, pool: ImagePool, rng: torch.Generator) -> float | None:
        """A fifth of a final phase; its last pass's mean loss, or None when all phases are over."""
        options = self._options
        if not options.final_passes or self._generation == options.generations:
            return None
        if not self._in_final_phase:
            self._start_final_phase()
        done = self._trainer.passes
        until = min(options.final_passes, done + max(1, -(-options.final_passes // FINAL_PARTS)))
        loss = 0.0
        for _ in range(done, until):
            loss = self._engine.run_pass(Pass(self._trainer, pool, rng))
        if until == options.final_passes:
            self._generation += 1
            self._in_final_phase = False
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Everything but the pool and the random generator."""
        return {
            "generation": self._generation,
            "in_final_phase": self._in_final_phase,
            "trainer": self._trainer.state_dict(),
            "primer": self._primer.state_dict() if self._primer else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._generation, self._in_final_phase = state["generation"], state["in_final_phase"]
        if state["primer"] is not None:
            self._primer = self._fresh().eval().requires_grad_(False)
            self._primer.load_state_dict(state["primer"])
        if self._in_final_phase or self._generation:
            self._trainer = self._final_trainer(self._fresh())
        self._trainer.load_state_dict(state["trainer"])

    def _start_final_phase(self) -> None:
        """The first generation goes on from the student so far unless `restart`; later ones start afresh."""
        options = self._options
        previous = copy.deepcopy(self.student).eval().requires_grad_(False)
        self._primer = previous if self._generation > 0 and options.self_distill > 0 else None
        fresh = options.restart or self._generation > 0
        self._trainer = self._final_trainer(self._fresh() if fresh else self._trainer.student)
        self._in_final_phase = True

    def _final_trainer(self, student: nn.Module) -> StudentTrainer:
        options = self._options
        cosine = options.final_passes if options.schedule == "cosine" else 0
        return StudentTrainer(student, options, self._task, cosine, self._primer, options.self_distill)

    def _fresh(self) -> nn.Module:
        seed = part_seed(self._seed, f"student/{self._generation}")
        student: nn.Module = build_classifier(self._architecture, self._task, seed=seed).to(self._device)
        # Channels last: up to half the time of a convolution on a CPU.
        return student.to(memory_format=torch.channels_last)


def fresh_student(
    pool: ImagePool,
    architecture: str,
    options: StudentOptions,
    task: Task,
    seed: int,
    device: str = "cpu",
) -> nn.Module:
    """A student in eval mode that went through the final phases on `pool`, and nothing else.

    What a method asked is worth the same recipe: give `ImagePool.first` of its pool to compare methods by
    their first queries. Raises ValueError where `final_passes` is 0: nothing would be learnt.
    """
    if not options.final_passes:
        raise ValueError("a fresh student needs final_passes of at least 1")
    learner = Learner(architecture, options, task, seed, device)
    rng = torch.Generator().manual_seed(part_seed(seed, "fresh student"))
    while learner.final_part(pool, rng) is not None:
        pass
    return learner.student.eval()
