"""How many trials a pack should hold."""

from typing import Any

import torch
from torch import Tensor, nn

from raysys.distill.batches import GPU_BLOCK
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.options import StudentOptions
from raysys.models.classifiers import build_classifier
from raysys.models.generators import Generator
from raysys.records import Task

MOST = 32
"""More trials than that wait for each other longer than a GPU's idle parts are worth."""
SHARE = 0.8
"""Of the free memory: the rest is for what the allocator cannot use, and for evaluation."""
COPIES = 10
"""Of a network's weights: own and stacked, gradients, two moments of each, an average and a primer."""
HELD = 3
"""Numbers kept for each output of a layer: itself, what its backward needs besides, and a gradient."""


def auto_pack(device: str, bytes_per_trial: int, free: int | None = None) -> int:
    """Trials for one pack on `device`: 1 on a CPU, where it does not pay; on a GPU what its memory allows.

    `bytes_per_trial` is the `trial_bytes` of the largest trial. `free`, in bytes, defaults to what the GPU
    has free now. From 1 to MOST.
    """
    if device == "cpu":
        return 1
    if free is None:
        free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MOST, int(SHARE * free) // bytes_per_trial))


def trial_bytes(task: Task, architecture: str, options: StudentOptions) -> int:
    """About what a trial of a pack needs on a GPU: counted on the networks, measured nowhere yet."""
    student = build_classifier(architecture, task, seed=0).to("meta")
    pixels = torch.Size(task.image_shape).numel()
    weights, learning = _parameters(student), options.train_batch * _outputs(student, task.image_shape)
    making = 0
    if isinstance(options, IdealOptions):
        generator = Generator(task.image_shape, options.latent_dim, options.g_width).to("meta")
        weights += _parameters(generator)
        each = _outputs(generator, (options.latent_dim,)) + _outputs(student, task.image_shape)
        making = options.batch_size * each
    # Images become floats in blocks, which augmentation copies.
    block = HELD * min(GPU_BLOCK, pixels * max(options.query_budget, options.train_batch))
    # What recorded generator steps took is free for the student only when memory runs short (`repeat`).
    return 4 * (COPIES * weights + HELD * (making + learning) + block)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _outputs(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Numbers that the layers put out for one input of that shape."""
    counted: list[int] = []

    def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        counted.append(output.numel())

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if not list(layer.children())]
    network.eval()(torch.empty((1, *shape), device="meta"))
    for hook in hooks:
        hook.remove()
    return sum(counted)
