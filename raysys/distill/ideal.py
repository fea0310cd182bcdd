"""IDEAL: query-efficient data-free learning from black-box models (Zhang, Chen, Lyu, ICLR 2023).

Each epoch has a generation stage that asks nothing (`generation`), then a distillation stage. In E epochs
with batches of B images,

- `labels: once`, as the paper claims: an image is asked once and its label kept, so that the epochs cost
  B * E queries;
- `labels: official`, as the released code runs: in every epoch a new view of every image made so far is
  asked, mirrored half of the time on any data set, and on CIFAR also cropped after padding by 4 pixels, so
  that the epochs cost B * E * (E + 1) / 2 queries. Those of a warm-up are asked again, too: its W images
  cost W * (E + 1). A pass is over the epoch's views; the release makes one, as mini-batches of B
  (`passes` 1, `train_batch` B), without more augmentation (`augment` 0, `balance` off), and no final ones.

Unlike the release, in both: SGD has Nesterov momentum; no checkpoint is chosen on the test set. Unlike it
where labels are asked once: views are small rotations, zooms and shifts instead of crops, only flipped where
the task allows it. Beyond the paper, each an option: structured noise for the first share of the budget, the
student recipe (`options.StudentOptions`), and ideas of its descendants, off by default.

- DFHL-RS (AAAI 2024): `latent_lr` (0.01 in its release); `target_smoothing` (0.2, spread over other classes
  only: 0.22 here); `entropy: batch_marginal` (a weight of 3 on log10: 1.3 here); `reset_generator` off;
  `high_entropy` (`generation.raise_entropy`), after `augment_query`.
- QEDG (AAAI 2025): `wrong_weight` (`losses.soft_cross_entropy`); `confidence_filter` t: of the images of an
  epoch, as 8 bits a pixel, only those are asked that the student gives no class more than t. What is refused
  costs nothing. Its release asks as few as are left; here up to TRIES batches are generated until one is
  full, and an epoch that finds fewer asks fewer: the costs above are then upper bounds.
"""

from typing import Any

import torch
from torch import Tensor

from raysys.data.augment import augment, flip_and_crop
from raysys.distill.engine import Generation
from raysys.distill.generation import CROP_PADDING, raise_entropy
from raysys.distill.grey_levels import on_grid
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.image_pool import ImagePool
from raysys.distill.method import Asked, Progress, Setting
from raysys.distill.noise_rounds import NoiseRounds
from raysys.distill.pooled import PooledMethod, samples, to_bytes
from raysys.distill.selection import unsure
from raysys.models.generators import Generator, reset
from raysys.oracle import Images

TRIES = 5
"""The most batches that are generated for one to be asked."""


class Ideal(PooledMethod):
    """Method `ideal`: rounds of a warm-up, then epochs."""

    def __init__(self, setting: Setting, options: IdealOptions) -> None:
        super().__init__(setting, options)
        self._options = options
        share = options.warmup_share
        self._warm_up = NoiseRounds(
            self,
            share * options.query_budget,
            options.warmup_rounds if share else 0,
            options.warmup_candidates,
            options.warmup_kind,
        )
        self._epoch = 0
        self._made: Tensor | None = None
        self._generator = Generator(self.task.image_shape, options.latent_dim, options.g_width)
        self._generator.to(self.device)
        reset(self._generator, self.rng)

    def step(self) -> Progress | None:
        """See `PooledMethod.step`."""
        if (progress := self._warm_up.step()) is not None:
            return progress
        if self._epoch == self._options.epochs:
            return None
        if self._options.labels == "official" and not self.remaining:
            return None
        self._epoch += 1
        return self._one_epoch()

    def _one_epoch(self) -> Progress:
        """Generate and ask while the budget lasts, then pass over the pool."""
        losses: dict[str, float] = {}
        shown = None
        if self.remaining:
            with self.watch("generate"):
                images, losses = self._new_images()
            once = self._options.labels == "once"
            shown = self._ask_once(images) if once else self._ask_all_again(images)
        losses["student"] = self.run_passes()
        return Progress(losses, shown)

    def _new_images(self) -> tuple[Tensor, dict[str, float]]:
        """The first images worth a query, a batch at most, and the last batch's loss and share refused."""
        options, kept = self._options, torch.empty(0, *self.task.image_shape, device=self.device)
        losses: dict[str, float] = {}
        for _ in range(TRIES):
            images, losses["generator"] = self._engine.generate(
                Generation(self._generator, self.student, options, self.task, self.rng)
            )
            images = augment(images, options.augment_query, self.task.flip, self.rng)
            images = raise_entropy(self.student, images, options.high_entropy)
            if options.confidence_filter < 1:
                images = images[unsure(self.student, on_grid(images), options.confidence_filter)]
                losses["refused"] = 1 - len(images) / options.batch_size
            kept = torch.cat([kept, images])[: options.batch_size]
            if len(kept) == options.batch_size:
                break
        return kept, losses

    def _ask_once(self, images: Tensor) -> Images | None:
        # The last batch may be cut: a random choice keeps its classes balanced.
        n = min(self.remaining, len(images))
        keep = torch.randperm(len(images), generator=self.rng)[:n].to(images.device)
        return self.ask_into_pool(images[keep])

    def _ask_all_again(self, images: Tensor) -> Images | None:
        """Ask a new view of every image; the answers replace those of the epoch before.

        Where the budget ends in between, the answers that it still paid for are added instead.
        """
        made = self.pool.images if self._made is None else self._made
        self._made = torch.cat([made, torch.from_numpy(to_bytes(images))])
        padding = CROP_PADDING if "cifar" in self.task.dataset else 0
        answered: list[Asked] = []
        order = torch.randperm(len(self._made), generator=self.rng)
        for part in torch.split(order, self._options.batch_size):
            if not self.remaining:
                break
            views = flip_and_crop(self._made[part[: self.remaining]].float() / 255, padding, self.rng)
            if (asked := self.ask(to_bytes(views))) is not None:
                answered.append(asked)
        if sum(len(asked.images) for asked in answered) == len(self._made):
            self.pool = ImagePool(self.task.image_shape, self.task.num_classes)
        for asked in answered:
            self.pool.add(asked.images, asked.response)
        return samples(answered[0].images) if answered else None

    def state_dict(self) -> dict[str, Any]:
        """See `Method.state_dict`."""
        return {
            **super().state_dict(),
            "generator": self._generator.state_dict(),
            "warm_up": self._warm_up.done,
            "epoch": self._epoch,
            "made": self._made,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Method.load_state_dict`."""
        super().load_state_dict(state)
        self._generator.load_state_dict(state["generator"])
        self._warm_up.done, self._epoch = state["warm_up"], state["epoch"]
        self._made = state["made"]
