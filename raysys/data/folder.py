"""A folder of images by class: `train/CLASS/*.png` and `test/CLASS/*.png`, or just `CLASS/*.png`.

Or of images that nobody labelled: `*.png`, and no folders.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raysys.data.decode import decode
from raysys.errors import DataError
from raysys.oracle import Images

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm"}


def split_folders(folder: Path) -> tuple[Path, Path | None]:
    """The folders of the train and the test (or val) split; (`folder`, None) when it is not split."""
    train = folder / "train"
    if not train.is_dir():
        return folder, None
    return train, next((folder / name for name in ("test", "val") if (folder / name).is_dir()), None)


def read_folder(
    folder: Path, image_shape: tuple[int, int, int], num_classes: int
) -> tuple[Images, npt.NDArray[np.int64]]:
    """All images uint8 (n, c, h, w), resized to `image_shape`, and labels int64 (n,).

    Classes are numbered in the order of their folders' names. Raises DataError when there are not
    `num_classes` folders, or one holds no image.
    """
    classes = _folders(folder)
    if len(classes) != num_classes:
        raise DataError(
            f"{folder} holds {len(classes)} class folders, but the space says {num_classes} classes",
            "expected one folder of images per class, or train/ and test/ with one per class",
        )
    images, labels = [], []
    for label, class_folder in enumerate(classes):
        files = _images(class_folder.rglob("*"))
        if not files:
            raise DataError(f"no images in {class_folder}", f"looked for {', '.join(sorted(SUFFIXES))}")
        images += [decode(path.read_bytes(), image_shape, str(path)) for path in files]
        labels += [label] * len(files)
    return np.stack(images), np.array(labels, dtype=np.int64)


def read_flat_folder(folder: Path, image_shape: tuple[int, int, int]) -> Images | None:
    """All images uint8 (n, c, h, w) of a folder without folders, by name; None where it is no such folder."""
    if not folder.is_dir() or _folders(folder):
        return None
    files = _images(folder.iterdir())
    return np.stack([decode(path.read_bytes(), image_shape, str(path)) for path in files]) if files else None


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES)
