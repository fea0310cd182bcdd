"""IDEAL as published, straight from its description: float32, the standard layout, one operation at a time.

What `raysys` is measured against (`trial_speed.py`). Nothing here is shared with it. Deviations from the
release: labels are asked by the caller, and an augmented view that the release makes and throws away is left
out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PublishedGenerator(nn.Module):
    """`Generator_2`: latent z (n, 256) -> images (n, c, h, w) in [0, 1]."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 256, width: int = 64) -> None:
        super().__init__()
        channels, height, wide = image_shape
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
        """Images (n, c, h, w)."""
        images: Tensor = self.net(z)
        return images

    def reset(self) -> None:
        """New weights: N(0, 0.02), batch-norm scales N(1, 0.02), biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                nn.init.normal_(module.weight, float(isinstance(module, nn.BatchNorm2d)), 0.02)
                nn.init.zeros_(module.bias)


def flipped(images: Tensor) -> Tensor:
    """Each image mirrored half of the time."""
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)


def cropped(images: Tensor, padding: int = 4) -> Tensor:
    """Each image padded with black and cut out at a random place."""
    n, channels, height, width = images.shape
    top, left = torch.randint(2 * padding + 1, (2, n, 1, 1, 1))
    rows, columns = top + torch.arange(height).view(-1, 1), left + torch.arange(width)
    which, channel = torch.arange(n).view(-1, 1, 1, 1), torch.arange(channels).view(-1, 1, 1)
    return F.pad(images, (padding,) * 4)[which, channel, rows, columns]


def generate(generator: PublishedGenerator, student: nn.Module, batch: int, steps: int) -> Tensor:
    """The generation stage: images (batch, c, h, w) of 10 classes, of the step with the lowest loss."""
    student.eval()
    generator.train()
    generator.reset()
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    z = torch.randn(batch, 256).requires_grad_()  # as released: it gets a gradient that nobody uses
    targets = torch.arange(10).repeat(batch // 10)
    best, best_loss = torch.empty(0), float("inf")
    for _ in range(steps):
        images = generator(z)
        logits = student(flipped(cropped(images)))
        p = logits.softmax(dim=1)
        loss = F.cross_entropy(logits, targets) + 5 * (p * p.log()).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if loss.item() < best_loss:
            best, best_loss = images.detach(), loss.item()
    return best


def distill(
    student: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, batch: int
) -> None:
    """The distillation stage: one pass over all images so far, uint8 (n, c, h, w), and their labels (n,)."""
    student.train()
    for part in torch.randperm(len(images)).split(batch):
        view = flipped(images[part].float() / 255)
        loss = F.cross_entropy(student(view), labels[part])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
