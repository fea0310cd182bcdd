"""`StudentTrainer.run_pass` for several trials at once."""

from collections.abc import Hashable, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.func import vmap

from raysys.distill.engine import Pass
from raysys.distill.losses import soft_cross_entropy
from raysys.distill.stack import Stack, adam, adam_factors, column, fill, nesterov, rows_of, structure
from raysys.distill.student import StudentTrainer
from raysys.models.optimizer import BETAS


def signature(work: Pass) -> Hashable:
    """Works of one signature can be done together."""
    trainer = work.trainer
    recipe = trainer.recipe
    return (
        structure(trainer.student),
        trainer.primer and structure(trainer.primer),
        recipe.optimizer,
        recipe.train_batch,
        recipe.augment > 0,
        recipe.mixup > 0,
        recipe.ema > 0,
    )


def run_passes_together(works: Sequence[Pass]) -> list[float]:
    """What `run_pass` returns for each of the works, which have one signature; the largest pools first.

    Each draws from its own `rng` what it would draw alone, in the same order. Rounding differs from that of
    a work alone. Until all is done, nothing of a trainer changes. A GPU is not waited for before the end.
    """
    students = _Students([work.trainer for work in works])
    passes = [work.trainer.batches(work.pool, work.rng) for work in works]
    flows = [iter(batches) for batches in passes]
    for number in range(max(map(len, passes))):
        # The larger a pool, the larger its next batch: those of one size, full or last, are neighbours.
        drawn = [batch for flow in flows if (batch := next(flow, None))]
        rates = [
            work.trainer.rate(number / max(1, len(one))) for work, one in zip(works, passes, strict=True)
        ]
        start = 0
        for _, group in groupby(drawn, key=lambda batch: len(batch[0])):
            images, targets = map(torch.stack, zip(*group, strict=True))
            part = slice(start, start := start + len(images))
            students.step(part, rates[part], images, targets)
    return students.end()


class _Students:
    """The students of several trainers, and all that is theirs, stacked."""

    def __init__(self, trainers: Sequence[StudentTrainer]) -> None:
        first = trainers[0]
        self._trainers = trainers
        self._device = first.device
        for trainer in trainers:
            trainer.student.train()
        self._students = Stack([trainer.student for trainer in trainers])
        primers = [trainer.primer for trainer in trainers if trainer.primer]
        self._primers = Stack(primers) if primers else None
        self._primer_weights = column((trainer.primer_weight for trainer in trainers), self._device)
        averages = [trainer.average.parameters() for trainer in trainers if trainer.average]
        self._averages = rows_of(averages) if averages else None
        self._moments = [
            rows_of(trainer.optimizer.state[which] for trainer in trainers)
            for which in range(2 if first.recipe.optimizer == "adamw" else 1)
        ]
        self._wrong_weights = column((trainer.recipe.wrong_weight for trainer in trainers), self._device)
        self._total = torch.zeros(len(trainers), device=self._device)
        self._batches = [0] * len(trainers)
        self._rates = [0.0] * len(trainers)

    def step(self, part: slice, rates: Sequence[float], images: Tensor, targets: Tensor) -> None:
        """A step of the m trainers in `part`, on images (m, n, c, h, w) with targets (m, n, K)."""
        if self._primers:
            with torch.no_grad():
                soft = self._primers.forward(part, images).softmax(dim=2)
            targets = targets.lerp(soft, self._primer_weights[part].unsqueeze(2))
        rows = self._students.rows[part].detach().requires_grad_()
        logits = self._students.forward(part, images, rows)
        losses = vmap(soft_cross_entropy)(logits, targets, self._wrong_weights[part].view(-1))
        (gradient,) = torch.autograd.grad(losses.sum(), rows)
        self._total[part] += losses.detach()
        self._rates[part] = rates
        for number in range(part.start, part.stop):
            self._batches[number] += 1
        self._update(part, gradient)

    @torch.no_grad()
    def _update(self, part: slice, gradient: Tensor) -> None:
        trainers, rates = self._trainers[part], self._rates[part]
        steps = [trainer.steps + n for trainer, n in zip(trainers, self._batches[part], strict=True)]
        decays = [trainer.recipe.weight_decay for trainer in trainers]
        rows, moments = self._students.rows[part], [moment[part] for moment in self._moments]
        if len(moments) == 2:
            if any(decays):
                kept = (1 - rate * decay for rate, decay in zip(rates, decays, strict=True))
                rows.mul_(column(kept, self._device))
            size, scale = (column(one, self._device) for one in adam_factors(steps, rates, BETAS))
            adam(rows, gradient, moments, size, scale, BETAS)
        else:
            nesterov(rows, gradient, moments[0], rates, decays)
        if self._averages is not None:
            kept = (trainer.kept(step) for trainer, step in zip(trainers, steps, strict=True))
            self._averages[part].lerp_(rows, 1 - column(kept, self._device))

    def end(self) -> list[float]:
        """Give the trainers what is theirs; the mean loss of each."""
        losses = self._total.tolist()  # waits for a GPU: what has failed there, fails here
        self._students.write_back([trainer.student for trainer in self._trainers])
        for number, (trainer, batches) in enumerate(zip(self._trainers, self._batches, strict=True)):
            if trainer.average and self._averages is not None:
                fill(trainer.average.parameters(), self._averages[number])
            if batches:
                trainer.steps += batches
                trainer.optimizer.rate = self._rates[number]
            for kept, moments in zip(trainer.optimizer.state, self._moments, strict=False):
                fill(kept, moments[number])
            for steps in trainer.optimizer.state[len(self._moments) :]:
                fill(steps, torch.full((len(steps),), float(trainer.steps)))
            trainer.end_pass()
        return [loss / max(1, batches) for loss, batches in zip(losses, self._batches, strict=True)]
