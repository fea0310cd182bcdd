"""The generation stage of IDEAL (ICLR 2023): images for given classes, without asking the teacher."""

import torch
from torch import Tensor, nn

from raysys.data.augment import augment, flip_and_crop
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.losses import batch_marginal_entropy, one_hot, per_sample_entropy, soft_cross_entropy
from raysys.distill.precision import autocast
from raysys.models.generators import Generator, reset
from raysys.models.optimizer import AdamW
from raysys.records import Task

BETAS = (0.5, 0.999)
"""Of Adam, for the generator and for z."""
VIEW_STRENGTH = 0.5
"""Augmentation of the student's view while the generator trains: it shifts, turns and zooms a little, and
flips only where the task allows it."""
CROP_PADDING = 4
"""Pixels of padding before the release crops; in this view it crops and flips on every data set."""
ENTROPY_STEP = 0.03
"""How far `raise_entropy` moves a pixel in one step, of a range of 1."""


def generate(
    generator: Generator, student: nn.Module, options: IdealOptions, task: Task, rng: torch.Generator
) -> tuple[Tensor, float]:
    """Train the generator against the student for `g_steps`; the best batch it made, and its loss.

    Loss = CE(student(view(G(z))), balanced targets) + entropy_weight * entropy term. Returns images float32
    (batch_size, c, h, w) in [0, 1] of the step with the lowest loss, without augmentation. The student is
    in eval mode and keeps its weights; `rng` is a CPU generator. The generator computes as `precision` says;
    the student and the loss are float32.

    Deviations from the release, all optional: z may be optimised too (`latent_lr`), smoothed targets, the
    batch-marginal entropy, a generator that is not reset. With official labels the view is the released crop.
    """
    device = next(student.parameters()).device
    if options.reset_generator:
        reset(generator, rng)
    z = torch.randn(options.batch_size, options.latent_dim, generator=rng).to(device)
    z.requires_grad_(options.latent_lr > 0)
    classes = torch.arange(task.num_classes, device=device).repeat(options.batch_size // task.num_classes)
    targets = one_hot(classes, task.num_classes, options.target_smoothing)
    optimizers = [AdamW(generator.parameters(), options.g_lr, betas=BETAS)]
    if options.latent_lr > 0:
        optimizers.append(AdamW([z], options.latent_lr, betas=BETAS))
    entropy = per_sample_entropy if options.entropy == "per_sample" else batch_marginal_entropy

    was_training = student.training
    student.eval().requires_grad_(False)
    generator.train()
    best, best_loss = torch.empty(0), torch.empty(0)
    for step in range(options.g_steps):
        with autocast(options.precision, device):
            images = generator(z)
        if options.labels == "official":
            view = flip_and_crop(images, CROP_PADDING, rng)
        else:
            view = augment(images, VIEW_STRENGTH, task.flip, rng)
        logits = student(view)
        loss = soft_cross_entropy(logits, targets) + options.entropy_weight * entropy(logits)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        images, loss = images.detach(), loss.detach()
        if step == 0:
            best, best_loss = images, loss
        else:  # by the device: an `if` would make the host wait for a GPU in every step
            better = loss < best_loss
            best, best_loss = torch.where(better, images, best), torch.where(better, loss, best_loss)
    student.requires_grad_(True).train(was_training)
    return best, float(best_loss)


def raise_entropy(student: nn.Module, images: Tensor, steps: int) -> Tensor:
    """Images (n, c, h, w) in [0, 1] of which the student is less sure: high-entropy examples. Asks nothing.

    DFHL-RS (AAAI 2024): x <- clamp(x + 0.03 * sign(d H(softmax(student(x))) / dx), 0, 1), in its release 10
    times, with no bound on the whole move. H is the entropy of one image, the student in eval mode; its
    weights and its mode are kept. Deviations: the release starts from x plus noise of 0.001, a quarter of a
    grey level, left out here; it moves a strongly augmented image of the bank anew in each mini-batch and
    asks it, here an image is moved once, before its only query.
    """
    was_training = student.training
    student.eval().requires_grad_(False)
    for _ in range(steps):
        images = images.detach().requires_grad_()
        (uphill,) = torch.autograd.grad(-per_sample_entropy(student(images)), images)
        images = (images.detach() + ENTROPY_STEP * uphill.sign()).clamp(0, 1)
    student.requires_grad_(True).train(was_training)
    return images
