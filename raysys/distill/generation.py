"""The generation stage of IDEAL (ICLR 2023): images for given classes, without asking the teacher."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from raysys.data.augment import crop, draw_crops, draw_views, sent, warp
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.losses import batch_marginal_entropy, one_hot, per_sample_entropy, soft_cross_entropy
from raysys.distill.precision import autocast
from raysys.distill.repeat import repeat
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
    targets, entropy = balanced_targets(options, task, device), entropy_of(options)
    learning = [one for one in generator.parameters() if one.requires_grad]
    optimizers = [AdamW(learning, options.g_lr, betas=BETAS)]
    if options.latent_lr > 0:
        optimizers.append(AdamW([z], options.latent_lr, betas=BETAS))
    best = torch.empty(options.batch_size, *task.image_shape, device=device)
    best_loss = torch.full((), math.nan, device=device)

    def step(draws: Tensor) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()  # of a call that could not be recorded
        with autocast(options.precision, device):
            images = generator(z)
        logits = student(view(images, draws, options.labels))
        loss = soft_cross_entropy(logits, targets) + options.entropy_weight * entropy(logits)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        keep_better(images.detach(), loss.detach(), best, best_loss)

    was_training = student.training
    student.eval().requires_grad_(False)
    generator.train()
    repeat(step, [sent(draw(options, task, rng), device)])
    student.requires_grad_(True).train(was_training)
    return best, float(best_loss)


def balanced_targets(options: IdealOptions, task: Task, device: torch.device) -> Tensor:
    """(batch_size, K): every class equally often."""
    classes = torch.arange(task.num_classes, device=device).repeat(options.batch_size // task.num_classes)
    return one_hot(classes, task.num_classes, options.target_smoothing)


def entropy_of(options: IdealOptions) -> Callable[[Tensor], Tensor]:
    """The entropy term: a loss of logits (n, K)."""
    return per_sample_entropy if options.entropy == "per_sample" else batch_marginal_entropy


def draw(options: IdealOptions, task: Task, rng: torch.Generator) -> Tensor:
    """What `view` needs in each step, (g_steps, batch_size, ...), on the CPU."""
    n, steps = options.batch_size, range(options.g_steps)
    if options.labels == "official":
        return torch.stack([draw_crops(n, CROP_PADDING, rng) for _ in steps])
    return torch.stack([draw_views(n, VIEW_STRENGTH, task.flip, rng) for _ in steps])


def view(images: Tensor, draws: Tensor, labels: str) -> Tensor:
    """What a student sees of images (n, c, h, w) in a step of the draws (n, ...)."""
    return crop(images, CROP_PADDING, draws) if labels == "official" else warp(images, draws)


def keep_better(images: Tensor, loss: Tensor, best: Tensor, best_loss: Tensor) -> None:
    """Write what has the lower loss into `best` and `best_loss`; anything is better than NaN.

    Losses () of images (n, c, h, w), or (k,) of k such batches. By the device: an `if` would make the host
    wait for a GPU in every step.
    """
    better = (loss < best_loss) | best_loss.isnan()
    torch.where(better.view(*better.shape, 1, 1, 1, 1), images, best, out=best)
    torch.where(better, loss, best_loss, out=best_loss)


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
