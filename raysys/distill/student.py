"""How a student learns from the pool: one recipe shared by all methods, so that they can be compared."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from raysys.distill.batches import Batches
from raysys.distill.image_pool import ImagePool
from raysys.distill.losses import soft_cross_entropy
from raysys.distill.options import StudentOptions
from raysys.models.optimizer import make_optimizer
from raysys.records import Task


class StudentTrainer:
    """A student with its optimizer, and its running average where `ema` > 0.

    `total_passes` > 0 gives a cosine schedule from `lr` to 0 over that many passes (SGDR without restarts,
    Loshchilov and Hutter 2017); 0 keeps the rate constant. `primer`, a frozen earlier student, adds its
    soft labels with weight `primer_weight` (born-again networks, Furlanello et al. 2018).
    """

    def __init__(
        self,
        student: nn.Module,
        recipe: StudentOptions,
        task: Task,
        total_passes: int = 0,
        primer: nn.Module | None = None,
        primer_weight: float = 0.0,
    ) -> None:
        self.student = student
        self.recipe = recipe
        self._task = task
        self._total_passes = total_passes
        self.primer = primer
        self.primer_weight = primer_weight if primer else 0.0
        self.device = next(student.parameters()).device
        self.average = copy.deepcopy(student) if recipe.ema > 0 else None
        self._weights: list[Tensor] = list(student.parameters())
        self._means: list[Tensor] = list(self.average.parameters()) if self.average else []
        self.optimizer = make_optimizer(recipe.optimizer, self._weights, recipe.lr, recipe.weight_decay)
        self.steps = 0
        self.passes = 0

    @property
    def best(self) -> nn.Module:
        """The student to use: its running average, where there is one."""
        return self.average or self.student

    def run_pass(self, pool: ImagePool, rng: torch.Generator) -> float:
        """One pass over the pool; the mean loss over its batches."""
        self.student.train()
        total = torch.zeros((), device=self.device)
        batches = self.batches(pool, rng)
        for number, (images, targets) in enumerate(batches):
            self.optimizer.rate = self.rate(number / len(batches))
            total += self._step(images, targets)
        self.end_pass()
        return float(total) / max(1, len(batches))

    def batches(self, pool: ImagePool, rng: torch.Generator) -> Batches:
        """What the student sees in a pass."""
        return Batches(pool, self.recipe, self._task, rng, self.device)

    def rate(self, share: float) -> float:
        """The learning rate after this share of the coming pass."""
        if not self._total_passes:
            return self.recipe.lr
        return self.recipe.lr * 0.5 * (1 + math.cos(math.pi * (self.passes + share) / self._total_passes))

    def kept(self, steps: int) -> float:
        """What the running average keeps of itself in step number `steps`."""
        # Early on it follows quickly, else it would remember the random start.
        return min(self.recipe.ema, (1 + steps) / (10 + steps))

    def end_pass(self) -> None:
        """What comes after the last batch of a pass."""
        self.passes += 1
        if self.average:
            for buffer, latest in zip(self.average.buffers(), self.student.buffers(), strict=True):
                buffer.copy_(latest)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next pass depends on, but the pool and the random generator."""
        return {
            "student": self.student.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "passes": self.passes,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.student.load_state_dict(state["student"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        self.passes = state["passes"]

    def _step(self, images: Tensor, targets: Tensor) -> Tensor:
        if self.primer:
            with torch.no_grad():
                targets = targets.lerp(self.primer(images).softmax(dim=1), self.primer_weight)
        loss = soft_cross_entropy(self.student(images), targets, self.recipe.wrong_weight)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.steps += 1
        if self.average:
            with torch.no_grad():
                torch._foreach_lerp_(self._means, self._weights, 1 - self.kept(self.steps))
        return loss.detach()
