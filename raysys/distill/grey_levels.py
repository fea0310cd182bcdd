"""Images as an API takes them: 8 bits a pixel, so 1/255 is the smallest change that can be asked about."""

from torch import Tensor

GREY = 1 / 255
"""One grey level of an image in [0, 1]."""


def on_grid(images: Tensor) -> Tensor:
    """Images of any range, clamped to [0, 1] and rounded to whole grey levels: floats k / 255."""
    return (images.clamp(0, 1) * 255).round() / 255
