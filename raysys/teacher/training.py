"""The teacher behind the door: trained by a recipe and cached, or a user's own weights or program."""

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import torch
from pyarrow.fs import LocalFileSystem
from torch import Tensor, nn
from torch.nn import functional as F

from raysys.data.augment import augment
from raysys.data.datasets import Dataset
from raysys.data.splits import split_val_test
from raysys.errors import StorageError, UsageError
from raysys.files import write_atomic
from raysys.models.classifiers import Classifier, build_classifier
from raysys.models.optimizer import make_optimizer
from raysys.models.weights import (
    load_checkpoint,
    load_safetensors,
    load_state,
    read_safetensors,
    save_safetensors,
    state_sha256,
)
from raysys.records import Task, TeacherCard
from raysys.seeding import part_seed
from raysys.space.schema import Recipe, TeacherSpec
from raysys.teacher.local import TorchTeacher

CODE_VERSION = 2
"""Part of the cache key: raise it when training changes what a recipe gives."""

WARMUP_SHARE = 0.15
"""Share of the steps in which the learning rate of the cosine schedule rises to its peak."""
FIRST, LAST = 1 / 25, 1e-4
"""Where it starts, as a share of the peak, and where it ends, as a share of the start."""

Progress = Callable[[int, int, float], None]
"""Called after each epoch with (epochs done, epochs, mean training loss)."""


@dataclass(frozen=True)
class Teacher:
    """A teacher: its card, and the module (eval mode, CPU): float32 (n, c, h, w) in [0, 1] -> logits."""

    card: TeacherCard
    module: nn.Module


def default_cache_dir() -> Path:
    """Where trained teachers are kept: the user's cache (`~/.cache/raysys`)."""
    return platformdirs.user_cache_path("raysys")


def find_or_train(spec: TeacherSpec, dataset: Dataset, cache_dir: Path, on_progress: Progress) -> Teacher:
    """The teacher that `spec` describes for `dataset`.

    A recipe is trained on the train split alone, and cached in `cache_dir/teachers/<key>` by the hash
    of recipe, architecture, data and code; a damaged cache entry is trained again. The card's
    accuracies are those on val and test, the two halves of the data set's test split. Deterministic
    for a thread count. Raises UsageError for weights or programs that cannot be used.
    """
    found = find(spec, dataset, cache_dir)
    if found is not None:
        return found
    if spec.recipe is None:
        raise AssertionError("a TeacherSpec holds a recipe, weights or a program")
    module = _build(spec, dataset)
    train(module, spec.recipe, dataset, on_progress)
    key = _cache_key(spec, dataset)
    card = _card(key, str(spec.architecture), state_sha256(module), module, dataset)
    folder = cache_dir / "teachers" / key
    save_safetensors(module, folder / "weights.safetensors", {"architecture": card.architecture})
    text = json.dumps(card.as_dict(), indent=2).encode()
    write_atomic(LocalFileSystem(), folder / "card.json", lambda stream: stream.write(text))
    return Teacher(card, module)


def find(spec: TeacherSpec, dataset: Dataset, cache_dir: Path) -> Teacher | None:
    """The teacher as `find_or_train` gives it, or None when it would have to be trained."""
    if spec.http is not None:
        raise UsageError(
            f"the teacher is behind {spec.http.url}: there is nothing to train or to load",
            "evaluating it costs queries, and only a run has a ledger to book them in",
            "raysys tune asks the held-out images once and tells its accuracy",
        )
    if spec.program is not None:
        return _own_program(spec, dataset)
    if spec.weights is not None:
        return _own_weights(spec, dataset)
    return _read_cache(spec, dataset, cache_dir / "teachers" / _cache_key(spec, dataset))


def measure(module: nn.Module, dataset: Dataset) -> tuple[float | None, float | None]:
    """Accuracy in [0, 1] on val and on test, None without labels. Leaves `module` on the CPU."""
    if dataset.test_labels is None:
        return None, None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    right = TorchTeacher(module, device).answer(dataset.test_images).labels == dataset.test_labels
    module.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    val, test = split_val_test(dataset.test_labels)
    return float(right[val].mean()), float(right[test].mean())


@contextmanager
def _threads_for(module: nn.Module) -> Iterator[None]:
    """One thread for a network without convolutions: beside other processes, such as Ray's at the start of a
    run, short steps on several threads wait for each other most of the time.
    """
    before = torch.get_num_threads()
    if not any(isinstance(layer, nn.Conv2d) for layer in module.modules()):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(module: Classifier, recipe: Recipe, dataset: Dataset, on_progress: Progress) -> None:
    """Train on the train split, on a GPU if there is one; leaves `module` on the CPU, in eval mode."""
    with _threads_for(module):
        _train(module, recipe, dataset, on_progress)


def _train(module: Classifier, recipe: Recipe, dataset: Dataset, on_progress: Progress) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Channels last: a third less time for convolutions on a CPU.
    module.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images = torch.tensor(dataset.train_images, device=device)
    labels = torch.tensor(dataset.train_labels, device=device)
    rng = torch.Generator().manual_seed(part_seed(recipe.seed, "teacher-data"))
    optimizer = make_optimizer(recipe.optimizer, module.parameters(), recipe.lr, recipe.weight_decay)
    steps = -(-len(labels) // recipe.batch_size)
    step = 0
    for epoch in range(recipe.epochs):
        total = torch.zeros((), device=device)
        for batch in torch.randperm(len(labels), generator=rng).to(device).chunk(steps):
            pixels = augment(images[batch].float() / 255, recipe.augment, dataset.task.flip, rng)
            logits = module(pixels.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits, labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.schedule == "cosine":
                optimizer.rate = recipe.lr * one_cycle(step, recipe.epochs * steps)
            optimizer.step()
            step += 1
            total += loss.detach()
        on_progress(epoch + 1, recipe.epochs, float(total) / steps)
    module.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def one_cycle(step: int, steps: int) -> float:
    """The learning rate of a step, 0 <= `step` < `steps`, as a share of its peak.

    It rises along half a cosine from `FIRST`, and falls along another one to `LAST` of that (one cycle, Smith
    and Topin 2018, in the form of torch's OneCycleLR).
    """
    top, end = WARMUP_SHARE * steps - 1, steps - 1
    rises = step <= top
    start, stop, done = (FIRST, 1.0, step / top) if rises else (1.0, FIRST * LAST, (step - top) / (end - top))
    return stop + (start - stop) / 2 * (1 + math.cos(math.pi * done))


def _build(spec: TeacherSpec, dataset: Dataset) -> Classifier:
    """The untrained network; without `mean` and `std` those of the train images, if any, are taken."""
    mean, std = spec.mean, spec.std
    if len(pixels := dataset.train_images):
        mean = mean or (pixels.mean(axis=(0, 2, 3)) / 255).tolist()
        std = std or np.maximum(pixels.std(axis=(0, 2, 3)) / 255, 1e-3).tolist()
    seed = part_seed(spec.recipe.seed if spec.recipe else 0, "teacher-weights")
    return build_classifier(str(spec.architecture), dataset.task, mean, std, seed=seed)


def _cache_key(spec: TeacherSpec, dataset: Dataset) -> str:
    made_by = spec.model_dump(mode="json", include={"architecture", "recipe", "mean", "std"})
    what = {"spec": made_by, "data": dataset.sha256, "code": CODE_VERSION}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _read_cache(spec: TeacherSpec, dataset: Dataset, folder: Path) -> Teacher | None:
    """The cached teacher, or None when there is none or its files are damaged."""
    module = _build(spec, dataset)
    try:
        card = TeacherCard(**json.loads((folder / "card.json").read_text()))
        load_safetensors(module, folder / "weights.safetensors")
    except (OSError, ValueError, TypeError, UsageError, StorageError):
        return None
    return Teacher(card, module.eval()) if state_sha256(module) == card.sha256 else None


def check_own(spec: TeacherSpec, dataset: Dataset) -> None:
    """Open a teacher that is not trained here, without measuring it. Raises UsageError as `find` does."""
    if spec.program is not None:
        path = _existing(spec.program)
        open_program(path.read_bytes(), path, spec, dataset.task)
    elif spec.weights is not None:
        _open_weights(spec, dataset)


def _own_weights(spec: TeacherSpec, dataset: Dataset) -> Teacher:
    module = _open_weights(spec, dataset)
    sha256 = state_sha256(module)
    return Teacher(_card(sha256, str(spec.architecture), sha256, module, dataset), module)


def _open_weights(spec: TeacherSpec, dataset: Dataset) -> Classifier:
    path = _existing(str(spec.weights))
    state = read_safetensors(path) if path.suffix == ".safetensors" else load_checkpoint(path)
    # Weights saved by raysys carry their normalisation; a bare network's state has no such buffers.
    normalised = "mean" in state
    if not (normalised or (spec.mean and spec.std) or len(dataset.train_images)):
        raise UsageError(
            f"the weights {path} need a normalisation",
            f"data set {dataset.name} has no training images to take mean and std from",
            "write teacher: {..., mean: [0.5], std: [0.25]}, one number a channel, of pixels in [0, 1]",
        )
    module = _build(spec, dataset)
    load_state(module if normalised else module.net, state, path)
    return module.eval()


class _Program(nn.Module):
    """An exported program's module, which refuses `train` and `eval`, as an ordinary one."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> "_Program":
        return self

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.program(images)
        return logits


def _own_program(spec: TeacherSpec, dataset: Dataset) -> Teacher:
    path = _existing(str(spec.program))
    content = path.read_bytes()
    module = open_program(content, path, spec, dataset.task)
    sha256 = hashlib.sha256(content).hexdigest()  # where there are no named weights, the file's
    return Teacher(_card(sha256, "program", sha256, module, dataset), module)


def open_program(content: bytes, path: Path, spec: TeacherSpec, task: Task) -> Classifier:
    """The program that `path` holds behind the normalisation of `spec`, tried on a few images.

    Raises UsageError when it is not trusted, cannot be loaded, or does not fit the task.
    """
    if not spec.trusted:
        # torch.export.load (2.15) unpickles weights and constants that the archive marks so.
        raise UsageError(
            f"refused to load the program {path}",
            "torch.export programs may hold pickles, and those can run any code",
            "if you made it yourself, say so: teacher: {program: ..., trusted: true}, or --trust-program",
        )
    try:
        program = _Program(torch.export.load(io.BytesIO(content)).module())
    except Exception as error:  # the archive may be anything, and the loader raises many kinds
        raise UsageError(
            f"cannot load the program {path}", str(error), "was it saved by torch.export.save?"
        ) from None
    channels, classes = task.image_shape[0], task.num_classes
    module = Classifier(program, spec.mean or [0.0] * channels, spec.std or [1.0] * channels)
    for rows in (2, 3):
        try:
            logits = module(torch.zeros(rows, *task.image_shape))
        except Exception as error:  # whatever the program does
            raise UsageError(
                f"the program {path} does not take {rows} images {task.image_shape}",
                str(error).partition("\n")[0],
                "export it with a dynamic batch dimension",
            ) from None
        if tuple(logits.shape) != (rows, classes):
            raise UsageError(
                f"the program {path} gives {tuple(logits.shape)} for {rows} images, not {(rows, classes)}"
            )
    return module


def _existing(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise UsageError(
            f"no teacher at {path}", "the file does not exist", "check the space's teacher block"
        )
    return path


def _card(key: str, architecture: str, sha256: str, module: nn.Module, dataset: Dataset) -> TeacherCard:
    val_accuracy, test_accuracy = measure(module, dataset)
    return TeacherCard(key[:12], architecture, sha256, val_accuracy, test_accuracy)
