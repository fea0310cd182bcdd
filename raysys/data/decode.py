"""Image files to arrays."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from raysys.errors import DataError
from raysys.oracle import Images


def decode(content: bytes, image_shape: tuple[int, int, int], source: str) -> Images:
    """An encoded image (JPEG, PNG, ...) as uint8 (c, h, w) with c 1 (grey) or 3 (RGB).

    Another size is cut centrally to the aspect of `image_shape`, then resized. `source` names the image
    in the DataError that a damaged file raises.
    """
    channels, height, width = image_shape
    try:
        image = Image.open(io.BytesIO(content)).convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(
            f"cannot decode the image {source}", str(error), "remove or replace this file"
        ) from None
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
