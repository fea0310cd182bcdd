"""IDEAL's generator: latent vectors in, images out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raysys.errors import UsageError


class UpConv2d(nn.Conv2d):
    """Nearest upsampling by 2, then a 3x3 convolution with zeros around; as one transposed convolution.

    (n, inputs, h, w) -> (n, outputs, 2h, 2w). Of the 9 taps of an output some fall on the same input: summed
    first, 4 are left, 2.25 times fewer operations (sub-pixel convolution, Shi et al., CVPR 2016).

    Parameters are those of `nn.Conv2d`, but the bias is not used: the batch norm that must follow would take
    it away again, and its gradient, 0 but for rounding, is as much work on a CPU as that of the weights.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        assert self.bias is not None
        self.bias.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """The maps (n, outputs, 2h, 2w)."""
        kernel = _spread(_spread(self.weight, 2), 3)
        return F.conv_transpose2d(images, kernel.transpose(0, 1), stride=2, padding=1)


def _spread(weight: Tensor, dim: int) -> Tensor:
    """The 4 taps with stride 2 that do along `dim` what 3 taps do on an input with each value twice."""
    first, middle, last = weight.unbind(dim)
    return torch.stack([last, middle + last, first + middle, first], dim)


class ChannelsLast(nn.Unflatten):
    """As `nn.Unflatten`, in the layout that convolutions are fastest in; what follows keeps it."""

    def forward(self, values: Tensor) -> Tensor:
        """The maps (n, c, h, w)."""
        # Not `contiguous(memory_format=...)`: that is unknown within vmap.
        return super().forward(values).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class Generator(nn.Module):
    """Latent z (n, latent_dim) -> images (n, c, h, w) in [0, 1] (IDEAL, ICLR 2023, `Generator_2`).

    Linear to 2 * `width` maps of a quarter of the side, then twice upsampling by 2 with a 3x3
    convolution. The images are float32, also where autocast makes the maps bfloat16. Raises UsageError
    when a side is not a multiple of 4.
    """

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 256, width: int = 64) -> None:
        super().__init__()
        channels, height, wide = image_shape
        if height % 4 or wide % 4:
            raise UsageError(
                f"the generator cannot make images of {height}x{wide} pixels",
                "it doubles the side twice",
                "use a space whose image sides are multiples of 4",
            )
        self.latent_dim = latent_dim
        self.net = nn.Sequential(
            nn.Linear(latent_dim, 2 * width * (height // 4) * (wide // 4)),
            ChannelsLast(1, (2 * width, height // 4, wide // 4)),
            nn.BatchNorm2d(2 * width),
            nn.Identity(),  # an upsampling once: weights keep their names in checkpoints
            UpConv2d(2 * width, 2 * width),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Identity(),
            UpConv2d(2 * width, width),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Images (n, c, h, w) in [0, 1] for z (n, latent_dim)."""
        # Between 1/2 and 1 a bfloat16 has 128 values: as many as a pixel has there, and all off by rounding.
        return torch.sigmoid(self.net(z).float())


@torch.no_grad()
def reset(generator: nn.Module, rng: torch.Generator) -> None:
    """Draw all parameters anew from `rng` (a CPU generator), as IDEAL does in every epoch.

    Convolution and linear weights N(0, 0.02), batch-norm scales N(1, 0.02), all biases 0; running
    statistics start again, so that the result depends on `rng` alone.
    """
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            center = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
            weight = torch.empty(module.weight.shape).normal_(center, 0.02, generator=rng)
            module.weight.copy_(weight)
            if module.bias is not None:
                module.bias.zero_()
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
