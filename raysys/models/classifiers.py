"""Classifiers by name. Normalisation is inside the model: every network takes pixels in [0, 1].

No network has dropout: a student depends on its seed and its data alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from raysys.errors import UsageError, nearest
from raysys.models.resnet import resnet, wide_resnet
from raysys.records import Task


class Classifier(nn.Module):
    """A network behind its normalisation: images (n, c, h, w) in [0, 1] -> logits (n, classes)."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes)."""
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits


def _block(inputs: int, outputs: int, kernel: int = 3, pool: bool = False) -> list[nn.Module]:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
    return [*layers, nn.MaxPool2d(2)] if pool else layers


class _PooledConv(nn.Conv2d):
    """Convolution with 2x2 max pooling, for few channels: half the time of the two on a CPU.

    The four places of a pooling window are channels of one convolution of stride 2, whose kernels are this
    one's, shifted.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h // 2, w // 2), where the padding keeps the side."""
        shifts = [(right, 1 - right, down, 1 - down) for down in (0, 1) for right in (0, 1)]
        kernels = torch.cat([F.pad(self.weight, shift) for shift in shifts])
        a, b, c, d = F.conv2d(images, kernels, stride=2, padding=self.padding).chunk(4, dim=1)
        assert self.bias is not None
        return _larger(_larger(a, b), _larger(c, d)) + self.bias.view(-1, 1, 1)


def _larger(a: Tensor, b: Tensor) -> Tensor:
    # The backward of torch.maximum takes several times as long.
    return a + F.relu(b - a)


def lenet5(task: Task) -> nn.Module:
    """LeNet-5 with ReLU and max pooling (LeCun et al., 1998); images below 28 pixels are padded more."""
    channels, height, width = task.image_shape
    small = min(height, width) < 28
    pads = (2, 2) if small else (2 if min(height, width) < 32 else 0, 0)
    side = [(size + 2 * pads[0] - 4) // 2 for size in (height, width)]
    side = [(size + 2 * pads[1] - 4) // 2 for size in side]
    return nn.Sequential(
        _PooledConv(channels, 6, 5, padding=pads[0]),
        nn.ReLU(),
        nn.Identity(),  # so that the weights keep the names that stored teachers and students have
        nn.Conv2d(6, 16, 5, padding=pads[1]),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * side[0] * side[1], 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, task.num_classes),
    )


def cnn3(task: Task) -> nn.Module:
    """Three convolutions with batch norm: the size of IDEAL's students for SVHN and CIFAR-10."""
    channels, height, width = task.image_shape
    return nn.Sequential(
        *_block(channels, 32, pool=True),
        *_block(32, 64, pool=True),
        *_block(64, 128, pool=True),
        nn.Flatten(),
        nn.Linear(128 * (height // 8) * (width // 8), task.num_classes),
    )


def alexnet_small(task: Task) -> nn.Module:
    """AlexNet (2012) for small images: five convolutions and three linear layers, with batch norm."""
    channels, height, width = task.image_shape
    return nn.Sequential(
        *_block(channels, 48, kernel=5, pool=True),
        *_block(48, 128, kernel=5, pool=True),
        *_block(128, 192),
        *_block(192, 192),
        *_block(192, 128, pool=True),
        nn.Flatten(),
        nn.Linear(128 * (height // 8) * (width // 8), 512),
        nn.ReLU(),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, task.num_classes),
    )


def vgg8_bn(task: Task) -> nn.Module:
    """VGG-8 with batch norm, as distillation benchmarks use it (Tian et al., CRD, ICLR 2020)."""
    return nn.Sequential(
        *_block(task.image_shape[0], 64, pool=True),
        *_block(64, 128, pool=True),
        *_block(128, 256, pool=True),
        *_block(256, 512),
        *_block(512, 512),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, task.num_classes),
    )


def mlp(task: Task) -> nn.Module:
    """Two hidden layers, 256 and 128 wide: enough for images of a few hundred pixels."""
    channels, height, width = task.image_shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * width, 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, task.num_classes),
    )


CLASSIFIERS: dict[str, Callable[[Task], nn.Module]] = {
    "mlp": mlp,
    "lenet5": lenet5,
    "cnn3": cnn3,
    "alexnet_small": alexnet_small,
    "vgg8_bn": vgg8_bn,
    "resnet18": lambda task: resnet(18, task),
    "resnet34": lambda task: resnet(34, task),
    "resnet50": lambda task: resnet(50, task),
    "wrn16_1": lambda task: wide_resnet(16, 1, task),
    "wrn16_2": lambda task: wide_resnet(16, 2, task),
    "wrn40_2": lambda task: wide_resnet(40, 2, task),
}
"""Architecture name -> builder of the bare network (without normalisation) for a task."""


def build_classifier(
    name: str,
    task: Task,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    *,
    seed: int,
) -> Classifier:
    """A new classifier on the CPU, in training mode: float32 images (n, c, h, w) in [0, 1] -> logits.

    `mean` and `std` (one value per channel, in units of [0, 1] pixels) default to 0.5. The weights
    depend on `seed` alone. Raises UsageError for an unknown name, images below 8 pixels, or `mean`
    and `std` that do not fit the channels.
    """
    if name not in CLASSIFIERS:
        raise UsageError(
            f"unknown architecture {name!r}", f"known: {', '.join(CLASSIFIERS)}", nearest(name, CLASSIFIERS)
        )
    channels, height, width = task.image_shape
    if min(height, width) < 8:
        raise UsageError(f"{name} needs images of at least 8x8 pixels, but got {height}x{width}")
    mean = [0.5] * channels if mean is None else mean
    std = [0.5] * channels if std is None else std
    if len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise UsageError(
            f"mean={list(mean)}, std={list(std)} cannot normalise images with {channels} channels",
            "each needs one value per channel, std above 0",
        )
    with _DrawnFrom(torch.Generator().manual_seed(seed)):
        return Classifier(CLASSIFIERS[name](task), mean, std)


DRAWS = (nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_, Tensor.uniform_, Tensor.normal_)
"""What draws a new network's weights."""


class _DrawnFrom(TorchFunctionMode):
    """What this thread draws into tensors comes from `rng`; torch's own is shared by all threads."""

    def __init__(self, rng: torch.Generator) -> None:
        super().__init__()
        self._rng = rng

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        own = {"generator": self._rng} if func in DRAWS else {}
        return func(*args, **{**(kwargs or {}), **own})
