"""Data sets by name: what is known of each, and where its images are found.

`digits` is bundled with scikit-learn. The others are looked for below a data root: in torchvision's
layout where torchvision knows them, then as Parquet, then as a folder of images by class. Images that
nobody labelled serve as held-out images too: Parquet without labels, or images directly in the folder.
"""

import hashlib
import os
from dataclasses import dataclass, field, replace
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from raysys.data.folder import read_flat_folder, read_folder, split_folders
from raysys.data.parquet import find_parquet, has_labels, holds_jpeg, read_images, read_parquet
from raysys.data.splits import stratified_split
from raysys.data.torchvision_sets import TORCHVISION_SETS, read_torchvision
from raysys.errors import DataError, nearest
from raysys.oracle import Images
from raysys.records import Task

Labels = npt.NDArray[np.int64]
Split = tuple[Images, Labels]

UNSPLIT_TRAIN_SHARE = 0.8
"""Share of the training images where a data set comes without a test split."""

SYNTHETIC = "synthetic"
"""The data set of whoever has no images at all: made, not read (`raysys.distill.noise`)."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before it is read. `classes` are the class names, if known."""

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    flip: bool
    classes: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """The task of imitating a classifier of this data set."""
        return Task(self.name, self.image_shape, self.num_classes, self.flip)


_DIGITS = tuple("0123456789")
_FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DATASETS = {
    info.name: info
    for info in (
        DatasetInfo("digits", (1, 8, 8), 10, flip=False, classes=_DIGITS),
        DatasetInfo("mnist", (1, 28, 28), 10, flip=False, classes=_DIGITS),
        DatasetInfo("fmnist", (1, 28, 28), 10, flip=True, classes=_FASHION),
        DatasetInfo("svhn", (3, 32, 32), 10, flip=False, classes=_DIGITS),
        DatasetInfo("cifar10", (3, 32, 32), 10, flip=True, classes=_CIFAR),
        DatasetInfo("cifar100", (3, 32, 32), 100, flip=True),
        DatasetInfo("tiny_imagenet", (3, 64, 64), 200, flip=True),
        DatasetInfo("imagenet12", (3, 64, 64), 12, flip=True),
    )
}
"""The data sets with a shipped space. Any other name needs a `Task`: see `load_dataset`."""


@dataclass(frozen=True)
class Dataset:
    """A data set in memory: images uint8 (n, c, h, w), labels int64 (n,) in [0, classes).

    `name` is the asked one, or e.g. `cifar10-jpeg` where the pixels were re-encoded; so is
    `task.dataset`. `sha256` is the hash of all arrays. A set that nobody labelled has no train images,
    and None for all labels.
    """

    name: str
    task: Task
    train_images: Images
    train_labels: Labels | None
    test_images: Images
    test_labels: Labels | None
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            if array is not None:
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        object.__setattr__(self, "sha256", digest.hexdigest())

    @property
    def strata(self) -> Labels:
        """What a split of the test images keeps in balance: their labels, or all 0 where there are none."""
        return np.zeros(len(self.test_images), np.int64) if self.test_labels is None else self.test_labels


def default_data_root() -> Path:
    """`$RAYSYS_DATA_ROOT`, else the folder `data` in the user's cache (`~/.cache/raysys/data`)."""
    root = os.environ.get("RAYSYS_DATA_ROOT")
    return Path(root).expanduser() if root else platformdirs.user_cache_path("raysys") / "data"


def dataset_info(name: str) -> DatasetInfo:
    """What is known of a shipped data set. Raises DataError for an unknown name."""
    if name not in DATASETS:
        raise DataError(
            f"unknown data set {name!r}", f"known: {', '.join(DATASETS)}", nearest(name, DATASETS)
        )
    return DATASETS[name]


def is_present(name: str, data_root: Path) -> bool:
    """True when there is something to read for data set `name`; nothing is read."""
    mark = TORCHVISION_SETS[name][1] if name in TORCHVISION_SETS else name
    return name == "digits" or (data_root / mark).exists() or (data_root / name).is_dir()


def load_dataset(name: str, data_root: Path, *, task: Task | None = None, download: bool = False) -> Dataset:
    """Read a data set into memory.

    `task` describes a data set that is not in `DATASETS`: Parquet or a folder of images below
    `data_root/name`, resized to `task.image_shape`. A set without a test split is split by a fixed
    seed; one without labels is test images only. `download` lets torchvision fetch the sets that it
    knows. Raises DataError when nothing is found, or what is found does not fit the task.
    """
    task = task or dataset_info(name).task
    folder = data_root / name
    test: Split | None
    if name == "digits":
        train, test = _digits()
    elif name in TORCHVISION_SETS and (found := read_torchvision(name, data_root, download)):
        train, test = found
    elif (images := _unlabelled(folder, task.image_shape)) is not None:
        return held_out_only(task, images)
    elif train_files := find_parquet(folder, "train"):
        if name in TORCHVISION_SETS and holds_jpeg(train_files[0]):
            name = f"{name}-jpeg"
            task = replace(task, dataset=name)
        test_files = find_parquet(folder, "test", "val")
        train = read_parquet(train_files, task.image_shape)
        test = read_parquet(test_files, task.image_shape) if test_files else None
    elif folder.is_dir():
        train_folder, test_folder = split_folders(folder)
        train = read_folder(train_folder, task.image_shape, task.num_classes)
        test = read_folder(test_folder, task.image_shape, task.num_classes) if test_folder else None
    else:
        raise _not_found(name, data_root)
    train, test = (train, test) if test else _split(train, UNSPLIT_TRAIN_SHARE)
    _check(task, train)
    _check(task, test)
    return Dataset(name, task, *train, *test)


def held_out_only(task: Task, images: Images) -> Dataset:
    """A data set of held-out `images`, uint8 (n, c, h, w), that nobody labelled."""
    nothing = np.empty((0, *task.image_shape), np.uint8)
    return Dataset(task.dataset, task, nothing, None, images, None)


def _unlabelled(folder: Path, image_shape: tuple[int, int, int]) -> Images | None:
    """The images of a data set that has no labels; None where it has some, or there is none."""
    files = find_parquet(folder, "train", "")
    if not files:
        return read_flat_folder(folder, image_shape)
    return None if has_labels(files[0]) else read_images(find_parquet(folder, ""), image_shape)


def _digits() -> tuple[Split, Split]:
    """scikit-learn's 1,797 digits: 1,000 to train, 797 to test, pixels 0..16 stretched to 0..255."""
    # Its file alone: to import it takes seconds.
    path = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    rows = np.loadtxt(str(path), delimiter=",")
    images = np.rint(rows[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    return _split((images, rows[:, -1].astype(np.int64)), 1000 / 1797)


def _split(whole: Split, train_share: float) -> tuple[Split, Split]:
    images, labels = whole
    train, test = stratified_split(labels, train_share)
    return (images[train], labels[train]), (images[test], labels[test])


def _check(task: Task, split: Split) -> None:
    images, labels = split
    if images.shape[1:] != task.image_shape:
        raise DataError(
            f"the images of {task.dataset} are {images.shape[1:]}, but the space says {task.image_shape}",
            "shapes are (channels, height, width)",
        )
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= task.num_classes:
        found = f"labels {labels.min()}..{labels.max()}" if len(labels) else "no images"
        raise DataError(
            f"data set {task.dataset} has {found}, but labels 0..{task.num_classes - 1} were expected",
            f"the space says {task.num_classes} classes",
        )


def _not_found(name: str, data_root: Path) -> DataError:
    places = [data_root / name]
    hint = f"put Parquet files (train*.parquet, test*.parquet), class folders or bare images into {places[0]}"
    if name in TORCHVISION_SETS:
        places.insert(0, data_root / TORCHVISION_SETS[name][1])
        hint = f"raysys teacher train --space {name} --download fetches it where there is internet"
    return DataError(
        f"data set {name} not found",
        f"looked for {' and '.join(map(str, places))}",
        f"{hint}; or name the folder that has it: --data-root DIR, or RAYSYS_DATA_ROOT",
    )
