"""`generation.generate` for several trials at once."""

import math
from collections.abc import Hashable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.func import vmap

from raysys.data.augment import sent
from raysys.distill.engine import Generation
from raysys.distill.generation import BETAS, balanced_targets, draw, entropy_of, keep_better, view
from raysys.distill.losses import soft_cross_entropy
from raysys.distill.precision import autocast_in_vmap
from raysys.distill.repeat import repeat
from raysys.distill.stack import Stack, adam, adam_factors, column, structure
from raysys.models.generators import reset


def signature(work: Generation) -> Hashable:
    """Works of one signature can be done together."""
    options = work.options
    return (
        structure(work.generator),
        structure(work.student),
        options.batch_size,
        options.labels,
        options.precision,
        options.entropy,
        options.latent_lr > 0,
        work.task.num_classes,
    )


def generate_together(works: Sequence[Generation]) -> list[tuple[Tensor, float]]:
    """What `generate` returns for each of the works, which have one signature; those of most steps first.

    Each draws from its own `rng` what it would draw alone, in the same order. Rounding differs from that of
    a work alone. Until all is done, nothing of a generator or student changes, but that a generator may be
    reset. A GPU is not waited for but when steps are recorded, and at the end.
    """
    was_training = [work.student.training for work in works]
    for work in works:
        work.student.eval()
        work.generator.train()
    try:
        return _generate(works)
    finally:
        for work, training in zip(works, was_training, strict=True):
            work.student.train(training)


def _generate(works: Sequence[Generation]) -> list[tuple[Tensor, float]]:
    making = _Making(works)
    draws = [draw(work.options, work.task, work.rng) for work in works]
    steps = [work.options.g_steps for work in works]
    for start, stop in pairwise(sorted({0, *steps})):  # in between, the works that go on are the same
        count = sum(one > start for one in steps)
        part = torch.stack([one[start:stop] for one in draws[:count]], dim=1)
        inputs = [part, *making.factors(range(start + 1, stop + 1), count)]
        repeat(making.step, [sent(one, making.device) for one in inputs])
    return making.end()


class _Making:
    """The generators and students of several works, stacked, and the best that was made so far."""

    def __init__(self, works: Sequence[Generation]) -> None:
        self._works = works
        self._options = [work.options for work in works]
        self.device = next(works[0].student.parameters()).device
        self._latents = sent(torch.stack([_latents(work) for work in works]), self.device)
        self._generators = Stack([work.generator for work in works])
        self._students = Stack([work.student for work in works])
        self._targets = torch.stack(
            [balanced_targets(work.options, work.task, self.device) for work in works]
        )
        self._entropy = vmap(entropy_of(self._options[0]))
        self._weights = column((one.entropy_weight for one in self._options), self.device).view(-1)
        self._trained = [(self._generators.rows, [one.g_lr for one in self._options])]
        if self._options[0].latent_lr > 0:
            self._trained.append((self._latents, [one.latent_lr for one in self._options]))
        self._moments = [(torch.zeros_like(one), torch.zeros_like(one)) for one, _ in self._trained]
        shape = len(works), self._options[0].batch_size, *works[0].task.image_shape
        self._best = torch.empty(shape, device=self.device)
        self._best_loss = torch.full((len(works),), math.nan, device=self.device)

    def factors(self, numbers: Sequence[int], count: int) -> list[Tensor]:
        """Those of `adam` in these steps, for the first `count` works: two (steps, count, 1) of each."""
        found = []
        for _, rates in self._trained:
            each = [adam_factors([number] * count, rates[:count], BETAS) for number in numbers]
            found += [one.unsqueeze(2) for one in torch.tensor(each).unbind(1)]
        return found

    def step(self, draws: Tensor, *factors: Tensor) -> None:
        """Of the first works, as many as there are draws (k, n, ...)."""
        part, options = slice(len(draws)), self._options[0]
        leaves = [one[part].detach().requires_grad_() for one, _ in self._trained]
        latent = (leaves[1] if len(leaves) > 1 else self._latents[part]).view(*draws.shape[:2], -1)
        with autocast_in_vmap(options.precision, self.device):
            images = self._generators.forward(part, latent, leaves[0])
        seen = view(images.flatten(0, 1), draws.flatten(0, 1), options.labels)
        logits = self._students.forward(part, seen.view(images.shape))
        losses = vmap(soft_cross_entropy)(logits, self._targets[part])
        losses = losses + self._weights[part] * self._entropy(logits)
        gradients = torch.autograd.grad(losses.sum(), leaves)
        pairs = zip(factors[::2], factors[1::2], strict=True)
        for (one, _), gradient, both, pair in zip(
            self._trained, gradients, self._moments, pairs, strict=True
        ):
            adam(one[part], gradient, [moment[part] for moment in both], *pair, BETAS)
        keep_better(images.detach(), losses.detach(), self._best[part], self._best_loss[part])

    def end(self) -> list[tuple[Tensor, float]]:
        """Give the generators what they learnt; the best batch of each work, and its loss."""
        lowest = self._best_loss.tolist()  # waits for a GPU: what has failed there, fails here
        self._generators.write_back([work.generator for work in self._works])
        return list(zip(self._best.unbind(), lowest, strict=True))


def _latents(work: Generation) -> Tensor:
    """z (n * latent_dim,), after what is drawn before it."""
    options = work.options
    if options.reset_generator:
        reset(work.generator, work.rng)
    return torch.randn(options.batch_size, options.latent_dim, generator=work.rng).view(-1)
