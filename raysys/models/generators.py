"""IDEAL's generator: latent vectors in, images out."""

import torch
from torch import Tensor, nn

from raysys.errors import UsageError


class Generator(nn.Module):
    """Latent z (n, latent_dim) -> images (n, c, h, w) in [0, 1] (IDEAL, ICLR 2023, `Generator_2`).

    Linear to 2 * `width` maps of a quarter of the side, then twice upsampling by 2 with a 3x3
    convolution. Raises UsageError when a side is not a multiple of 4.
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
            nn.Unflatten(1, (2 * width, height // 4, wide // 4)),
            nn.BatchNorm2d(2 * width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Images (n, c, h, w) in [0, 1] for z (n, latent_dim)."""
        images: Tensor = self.net(z)
        return images


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
