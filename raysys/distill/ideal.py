"""IDEAL: query-efficient data-free learning from black-box models (Zhang, Chen, Lyu, ICLR 2023).

Each epoch has a generation stage that asks nothing (`generation`), then a distillation stage. The released
code re-augments and re-asks its whole pool in every epoch, B * E * (E + 1) / 2 queries in E epochs; here an
image is asked once and its label kept, as the paper claims, so that E epochs cost B * E. Also unlike the
release: views are small rotations, zooms and shifts instead of crops, only flipped where the task allows it;
SGD has Nesterov momentum; no checkpoint is chosen on the test set. Beyond the paper,
each an option: structured noise for the first share of the budget, several passes an epoch, a long final
phase with its own schedule, averaging, mixup, and generations that learn from the one before.
"""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raysys.data.augment import augment
from raysys.distill.generation import generate
from raysys.distill.image_pool import ImagePool
from raysys.distill.method import Method, Progress, Requests
from raysys.distill.noise import structured_noise
from raysys.distill.options import IdealOptions
from raysys.distill.selection import pick
from raysys.distill.student import StudentTrainer
from raysys.models.classifiers import build_classifier
from raysys.models.generators import Generator, reset
from raysys.oracle import Images
from raysys.records import Task, TrialConfig
from raysys.seeding import part_seed

FINAL_REPORTS = 5
"""How often a final phase stops for a report and a checkpoint."""
SAMPLES = 64
"""Images of a batch that are shown."""
NOISE_AT_ONCE = 4096
"""Noise images made together; a warm-up of a large budget would not fit into memory."""


class Ideal(Method):
    """Method `ideal`; the loop's position is (warm-up round, epoch, generation, passes)."""

    def __init__(
        self, config: TrialConfig, options: IdealOptions, task: Task, requests: Requests, device: str
    ) -> None:
        super().__init__(task, requests, options.query_budget)
        self._config = config
        self._options = options
        self._device = device
        self._rng = torch.Generator().manual_seed(part_seed(config.seed, "ideal"))
        self._round = 0
        self._epoch = 0
        self._generation = 0
        self._in_final_phase = False
        self._pool = ImagePool(task.image_shape, task.num_classes)
        self._generator = Generator(task.image_shape, options.latent_dim, options.g_width).to(device)
        reset(self._generator, self._rng)
        self._primer: nn.Module | None = None
        self._trainer = StudentTrainer(self._fresh_student(), options, task)

    @property
    def student(self) -> nn.Module:
        """See `Method.student`."""
        return self._trainer.best

    @property
    def pool_size(self) -> int:
        """See `Method.pool_size`."""
        return len(self._pool)

    def run(self) -> Iterator[Progress]:
        """See `Method.run`. Yields after each warm-up round, each epoch, and each part of a final phase."""
        while self._round < (self._options.warmup_rounds if self._options.warmup_share else 0):
            yield self._warm_up_round()
        while self._epoch < self._options.epochs:
            yield self._one_epoch()
        while self._generation < self._options.generations and self._options.final_passes:
            yield self._final_part()

    def _warm_up_round(self) -> Progress:
        """Ask structured noise for a part of `warmup_share` of the budget."""
        options = self._options
        self._round += 1
        until = round(options.warmup_share * options.query_budget * self._round / options.warmup_rounds)
        block = max(1, NOISE_AT_ONCE // options.warmup_candidates)
        samples = None
        while (n := min(self.remaining, until - self.queries, block)) > 0:
            noise = structured_noise(
                n * options.warmup_candidates, self.task.image_shape, self.task.flip, self._rng
            )
            if options.warmup_candidates > 1:
                noise = noise[pick(self.student, noise.to(self._device), n).cpu()]
            if (asked := self._ask_into_pool(noise)) is not None:
                samples = asked
        return Progress({"student": self._passes()}, samples)

    def _one_epoch(self) -> Progress:
        """Generate and ask one batch while the budget lasts, then pass over the pool."""
        losses, samples = {}, None
        n = min(self.remaining, self._options.batch_size)
        if n > 0:
            images, losses["generator"] = generate(
                self._generator, self.student, self._options, self.task, self._rng
            )
            images = augment(images, self._options.augment_query, self.task.flip, self._rng)
            # The last batch may be cut: a random choice keeps its classes balanced.
            keep = torch.randperm(len(images), generator=self._rng)[:n].to(images.device)
            samples = self._ask_into_pool(images[keep])
        losses["student"] = self._passes()
        self._epoch += 1
        return Progress(losses, samples)

    def _final_part(self) -> Progress:
        """A fifth of a final phase; the first part of each phase sets it up, the last one closes it."""
        options = self._options
        if not self._in_final_phase:
            self._start_final_phase()
        done = self._trainer.passes
        until = min(options.final_passes, done + max(1, -(-options.final_passes // FINAL_REPORTS)))
        loss = 0.0
        for _ in range(done, until):
            loss = self._trainer.run_pass(self._pool, self._rng)
        if until == options.final_passes:
            self._generation += 1
            self._in_final_phase = False
        return Progress({"student": loss})

    def _start_final_phase(self) -> None:
        """The first generation goes on from the epochs' student unless `restart`; later ones start afresh."""
        options = self._options
        previous = copy.deepcopy(self.student).eval().requires_grad_(False)
        self._primer = previous if self._generation > 0 and options.self_distill > 0 else None
        fresh = options.restart or self._generation > 0
        student = self._fresh_student() if fresh else self._trainer.student
        self._trainer = self._final_trainer(student)
        self._in_final_phase = True

    def _final_trainer(self, student: nn.Module) -> StudentTrainer:
        options = self._options
        cosine = options.final_passes if options.schedule == "cosine" else 0
        return StudentTrainer(student, options, self.task, cosine, self._primer, options.self_distill)

    def _passes(self) -> float:
        loss = 0.0
        for _ in range(self._options.passes):
            loss = self._trainer.run_pass(self._pool, self._rng)
        return loss

    def _ask_into_pool(self, images: Tensor) -> Images | None:
        """Quantise images to what an API takes, ask, and keep what was asked with its answers.

        Where a cap leaves room for a part only, the first are asked: callers order them so that any
        number of the first ones is a fair choice.
        """
        pixels: Images = (images.detach() * 255).round().to(torch.uint8).cpu().numpy()
        asked = self.ask(pixels)
        if asked is None:
            return None
        self._pool.add(asked.images, asked.response)
        return np.ascontiguousarray(asked.images[:SAMPLES])

    def _fresh_student(self) -> nn.Module:
        seed = part_seed(self._config.seed, f"student/{self._generation}")
        student: nn.Module = build_classifier(self._config.student, self.task, seed=seed).to(self._device)
        # Channels last: up to half the time of a convolution on a CPU.
        return student.to(memory_format=torch.channels_last)

    def state_dict(self) -> dict[str, Any]:
        """See `Method.state_dict`."""
        return {
            **super().state_dict(),
            "rng": self._rng.get_state(),
            "pool": self._pool.state_dict(),
            "generator": self._generator.state_dict(),
            "trainer": self._trainer.state_dict(),
            "primer": self._primer.state_dict() if self._primer else None,
            "position": [self._round, self._epoch, self._generation, self._in_final_phase],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Method.load_state_dict`."""
        super().load_state_dict(state)
        self._round, self._epoch, self._generation, self._in_final_phase = state["position"]
        self._rng.set_state(state["rng"])
        self._pool.load_state_dict(state["pool"])
        self._generator.load_state_dict(state["generator"])
        if state["primer"] is not None:
            self._primer = self._fresh_student().eval().requires_grad_(False)
            self._primer.load_state_dict(state["primer"])
        if self._in_final_phase or self._generation:
            self._trainer = self._final_trainer(self._fresh_student())
        self._trainer.load_state_dict(state["trainer"])
