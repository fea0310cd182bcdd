"""`generation.generate` for several trials at once."""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor
from torch.func import vmap

from raysys.data.augment import crop, draw_crops, draw_views, sent, warp
from raysys.distill.engine import Generation
from raysys.distill.generation import BETAS, CROP_PADDING, VIEW_STRENGTH
from raysys.distill.losses import batch_marginal_entropy, one_hot, per_sample_entropy, soft_cross_entropy
from raysys.distill.precision import autocast_in_vmap
from raysys.distill.stack import Stack, adam, column, structure
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
    reset. A GPU is not waited for before the end.
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
    options = [work.options for work in works]
    device = next(works[0].student.parameters()).device
    rows, latent_dim = options[0].batch_size, options[0].latent_dim
    latents = []
    for work in works:
        if work.options.reset_generator:
            reset(work.generator, work.rng)
        latents.append(torch.randn(rows, latent_dim, generator=work.rng).view(-1))
    generators = Stack([work.generator for work in works])
    students = Stack([work.student for work in works])
    z = sent(torch.stack(latents), device)
    num_classes = works[0].task.num_classes
    classes = torch.arange(num_classes, device=device).repeat(rows // num_classes)
    targets = torch.stack([one_hot(classes, num_classes, one.target_smoothing) for one in options])
    entropy = vmap(per_sample_entropy if options[0].entropy == "per_sample" else batch_marginal_entropy)
    weights = column((one.entropy_weight for one in options), device).view(-1)

    trained = [(generators.rows, [one.g_lr for one in options])]
    if options[0].latent_lr > 0:
        trained.append((z, [one.latent_lr for one in options]))
    moments = [(torch.zeros_like(one), torch.zeros_like(one)) for one, _ in trained]
    best, best_loss = torch.empty(0), torch.empty(0)
    for step in range(options[0].g_steps):
        part = slice(sum(one.g_steps > step for one in options))
        count = part.stop
        leaves = [one[part].detach().requires_grad_() for one, _ in trained]
        latent = leaves[1] if len(leaves) > 1 else z[part]
        with autocast_in_vmap(options[0].precision, device):
            images = generators.forward(part, latent.view(count, rows, latent_dim), leaves[0])
        logits = students.forward(part, _view(images, works[part]))
        losses = vmap(soft_cross_entropy)(logits, targets[part]) + weights[part] * entropy(logits)
        gradients = torch.autograd.grad(losses.sum(), leaves)
        for (one, rates), gradient, (mean, square) in zip(trained, gradients, moments, strict=True):
            adam(
                one[part],
                gradient,
                (mean[part], square[part]),
                [step + 1] * count,
                rates[part],
                [0.0] * count,
                BETAS,
            )
        images, losses = images.detach(), losses.detach()
        if step == 0:
            best, best_loss = images.clone(), losses.clone()
        better = losses < best_loss[part]
        best[part] = torch.where(better.view(-1, 1, 1, 1, 1), images, best[part])
        best_loss[part] = torch.where(better, losses, best_loss[part])
    lowest = best_loss.tolist()  # waits for a GPU: what has failed there, fails here
    generators.write_back([work.generator for work in works])
    return list(zip(best.unbind(), lowest, strict=True))


def _view(images: Tensor, works: Sequence[Generation]) -> Tensor:
    """What the students see of images (k, n, c, h, w), see `generate`."""
    k, n = images.shape[:2]
    flat = images.flatten(0, 1)
    if works[0].options.labels == "official":
        places = [draw_crops(n, CROP_PADDING, work.rng) for work in works]
        flat = crop(flat, CROP_PADDING, sent(torch.cat(places), images.device))
    else:
        views = [draw_views(n, VIEW_STRENGTH, work.task.flip, work.rng) for work in works]
        flat = warp(flat, sent(torch.cat(views), images.device))
    return torch.unflatten(flat, 0, (k, n))
