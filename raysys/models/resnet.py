"""Residual networks for small images."""

from torch import Tensor, nn
from torch.nn import functional as F

from raysys.records import Task


def resnet(depth: int, task: Task) -> nn.Module:
    """torchvision's ResNet of `depth` 18, 34 or 50 with a stem for small images.

    The stem is one 3x3 convolution with stride 1; up to 32 pixels there is no max pooling behind it
    (He et al., 2016, as commonly adapted to CIFAR).
    """
    from torchvision.models import resnet as torchvision_resnet  # slow to import, and rarely needed

    channels, height, width = task.image_shape
    net: nn.Module = getattr(torchvision_resnet, f"resnet{depth}")(num_classes=task.num_classes)
    net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    if min(height, width) <= 32:
        net.maxpool = nn.Identity()
    return net


class _WideBlock(nn.Module):
    """Pre-activation residual block of two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return residual + (x if self.shortcut is None else self.shortcut(activated))


def wide_resnet(depth: int, widen: int, task: Task) -> nn.Module:
    """WRN-`depth`-`widen` (Zagoruyko and Komodakis, BMVC 2016) without dropout; depth = 6 k + 4."""
    layers: list[nn.Module] = [nn.Conv2d(task.image_shape[0], 16, 3, padding=1, bias=False)]
    inputs = 16
    for group in range(3):
        outputs = 16 * widen * 2**group
        for block in range((depth - 4) // 6):
            # widen=1 keeps 16 channels in the first group: identity shortcut, stride 1.
            layers.append(_WideBlock(inputs, outputs, stride=2 if group and not block else 1))
            inputs = outputs
    return nn.Sequential(
        *layers,
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(inputs, task.num_classes),
    )
