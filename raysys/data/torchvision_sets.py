"""The data sets that torchvision reads, from their original files."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raysys.errors import DataError
from raysys.oracle import Images

Split = tuple[Images, npt.NDArray[np.int64]]

TORCHVISION_SETS = {
    "mnist": ("MNIST", "MNIST/raw"),
    "fmnist": ("FashionMNIST", "FashionMNIST/raw"),
    "svhn": ("SVHN", "train_32x32.mat"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "cifar-100-python"),
}
"""Name -> torchvision's class, and the folder or file below the data root that shows it is there."""


def read_torchvision(name: str, data_root: Path, download: bool) -> tuple[Split, Split] | None:
    """Train and test split of one of `TORCHVISION_SETS`, or None when it is not below `data_root`.

    CIFAR's files are pickles: torchvision reads them only after their checksums were right. Raises
    DataError when files are there but damaged, or a download fails.
    """
    class_name, mark = TORCHVISION_SETS[name]
    if not download and not (data_root / mark).exists():
        return None
    from torchvision import datasets  # slow to import

    def read(train: bool) -> Split:
        split = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
        return _arrays(getattr(datasets, class_name)(str(data_root), download=download, **split))

    try:
        return read(True), read(False)
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(
            f"cannot read data set {name} in {data_root / mark}",
            str(error),
            "copy the original, unpacked files there again",
        ) from None


def _arrays(dataset: Any) -> Split:
    """torchvision keeps (n, h, w) tensors, (n, h, w, 3) arrays or, for SVHN, (n, 3, h, w) arrays."""
    images = np.asarray(dataset.data)
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[3] == 3:
        images = images.transpose(0, 3, 1, 2)
    labels = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    return np.ascontiguousarray(images), np.asarray(labels, dtype=np.int64)
