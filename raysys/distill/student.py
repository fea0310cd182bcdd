"""How a student learns from the pool: one recipe shared by all methods, so that they can be compared."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raysys.data.augment import augment
from raysys.distill.image_pool import ImagePool
from raysys.distill.losses import soft_cross_entropy
from raysys.distill.options import StudentOptions
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
        self._recipe = recipe
        self._task = task
        self._total_passes = total_passes
        self._primer = primer
        self._primer_weight = primer_weight if primer else 0.0
        self._device = next(student.parameters()).device
        self._average = copy.deepcopy(student) if recipe.ema > 0 else None
        self._optimizer = _optimizer(student, recipe)
        self._steps = 0
        self.passes = 0

    @property
    def best(self) -> nn.Module:
        """The student to use: its running average, where there is one."""
        return self._average or self.student

    def run_pass(self, pool: ImagePool, rng: torch.Generator) -> float:
        """One pass over the pool; the mean loss over its batches."""
        recipe = self._recipe
        self.student.train()
        total = torch.zeros((), device=self._device)
        batches = _batches(pool.order(recipe.balance, rng), recipe.train_batch)
        for number, indices in enumerate(batches):
            if self._total_passes:
                share = (self.passes + number / len(batches)) / self._total_passes
                rate = recipe.lr * 0.5 * (1 + torch.cos(torch.tensor(share * torch.pi)).item())
                for group in self._optimizer.param_groups:
                    group["lr"] = rate
            images, targets = (part.to(self._device) for part in pool.batch(indices))
            total += self._step(images, targets, rng)
        self.passes += 1
        return float(total) / max(1, len(batches))

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next pass depends on, but the pool and the random generator."""
        return {
            "student": self.student.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "optimizer": self._optimizer.state_dict(),
            "steps": self._steps,
            "passes": self.passes,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.student.load_state_dict(state["student"])
        if self._average:
            self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._steps = state["steps"]
        self.passes = state["passes"]

    def _step(self, images: Tensor, targets: Tensor, rng: torch.Generator) -> Tensor:
        images = augment(images, self._recipe.augment, self._task.flip, rng)
        if self._recipe.mixup > 0:
            images, targets = mixup(images, targets, self._recipe.mixup, rng)
        if self._primer:
            with torch.no_grad():
                soft = self._primer(images).softmax(dim=1)
            targets = (1 - self._primer_weight) * targets + self._primer_weight * soft
        loss = soft_cross_entropy(self.student(images), targets, self._recipe.wrong_weight)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._steps += 1
        if self._average:
            _blend(self._average, self.student, self._recipe.ema, self._steps)
        return loss.detach()


def _batches(order: Tensor, size: int) -> list[Tensor]:
    # Batch norm cannot learn from one image alone: it waits for another pass.
    return [part for part in torch.split(order, size) if len(part) > 1]


def mixup(images: Tensor, targets: Tensor, alpha: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Convex pairs of a batch with weights from Beta(alpha, alpha) (mixup, Zhang et al. 2018, eq. 1)."""
    n = len(images)
    # torch draws Beta from its global state only.
    draws = np.random.default_rng(int(torch.randint(2**62, (), generator=rng))).beta(alpha, alpha, n)
    share = torch.tensor(draws, dtype=images.dtype, device=images.device)
    partner = torch.randperm(n, generator=rng).to(images.device)
    pixels, classes = share.view(n, 1, 1, 1), share.view(n, 1)
    return pixels * images + (1 - pixels) * images[partner], classes * targets + (1 - classes) * targets[
        partner
    ]


def _optimizer(student: nn.Module, recipe: StudentOptions) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(student.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        student.parameters(), recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay, nesterov=True
    )


@torch.no_grad()
def _blend(average: nn.Module, student: nn.Module, decay: float, steps: int) -> None:
    # Early on the average follows quickly, else it would remember the random start.
    keep = min(decay, (1 + steps) / (10 + steps))
    for mean, new in zip(average.parameters(), student.parameters(), strict=True):
        mean.lerp_(new, 1 - keep)
    for buffer, latest in zip(average.buffers(), student.buffers(), strict=True):
        buffer.copy_(latest)
