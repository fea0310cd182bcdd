"""What all trials of a run share: the space, its teacher, and the held-out images with its answers."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from raysys import __version__
from raysys.cluster.code import versions
from raysys.cluster.http_teacher import http_source
from raysys.cluster.plan import SYNTHETIC_IMAGES, budget_range, check_without_labels
from raysys.data.datasets import SYNTHETIC, Dataset, held_out_only, load_dataset
from raysys.data.splits import split_val_test
from raysys.distill.method import REQUEST_ROWS
from raysys.distill.noise import structured_noise
from raysys.distill.options import method_options, parse_options
from raysys.errors import DataError, RaysysError
from raysys.fronts.hypervolume import Reference
from raysys.fronts.objectives import Objective
from raysys.models.classifiers import build_classifier
from raysys.oracle import BudgetExhausted, Images, Oracle
from raysys.records import EvalSet, Scalar, Task, TeacherCard, TrialConfig
from raysys.seeding import part_seed
from raysys.source import source_sha256
from raysys.space.load import digest, to_json
from raysys.space.schema import Space
from raysys.space.trial_config import resolve
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest
from raysys.teacher.backend import Source
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.training import check_own, find_or_train


@dataclass(frozen=True)
class HeldOut:
    """A held-out split without the teacher's answers: uint8 (n, c, h, w), int64 (n,) or None."""

    images: Images
    labels: npt.NDArray[np.int64] | None


@dataclass(frozen=True)
class Problem:
    """The teacher and the held-out images of a run. Of training images it knows nothing."""

    task: Task
    teacher: Source
    card: TeacherCard
    val: HeldOut
    test: HeldOut

    @property
    def evaluation_queries(self) -> int:
        """What the account `evaluation` is charged: each held-out image once."""
        return len(self.val.images) + len(self.test.images)


def read_dataset(space: Space, task: Task, data_root: Path, download: bool = False) -> Dataset:
    """The space's data set; synthetic images are made here, the same ones for a task and a number of images.

    They are the structured noise that trials may ask about too, drawn apart. Agreement on them ranks
    students of one teacher; it is not what they reach on the images that the teacher is for, and where the
    teacher calls most noise the same class, a student that always says so agrees as much.

    Raises DataError where the set is missing or too small, and SpaceError where it lacks labels that the
    space needs.
    """
    if space.dataset == SYNTHETIC:
        rng = torch.Generator().manual_seed(part_seed(0, "held-out"))  # no trial draws from this name
        count = space.held_out or SYNTHETIC_IMAGES
        pixels = structured_noise(count, task.image_shape, task.flip, rng)
        return held_out_only(task, (pixels * 255).round().to(torch.uint8).numpy())
    own = None if space.task is None else task
    dataset = load_dataset(space.dataset, data_root, task=own, download=download)
    if dataset.test_labels is None:
        check_without_labels(space)
    held_out(space, dataset)  # what is wrong with it is told now, before any work
    real_images(space, dataset)
    return dataset


def real_images(space: Space, dataset: Dataset) -> Images | None:
    """The training images, without labels, for a method that needs real ones; None for any other.

    Raises DataError when there are none.
    """
    if not method_options(space.method).needs_images:
        return None
    if not len(dataset.train_images):
        raise DataError(
            f"method {space.method} needs real images, data set {dataset.name} has no training images",
            hint="use a data set with a training split, or another method",
        )
    return dataset.train_images


def held_out(space: Space, dataset: Dataset) -> tuple[HeldOut, HeldOut]:
    """(val, test): a fixed stratified split of the test images, of at most `space.held_out` of them.

    Raises DataError when one of them is empty.
    """
    images, labels = dataset.test_images, dataset.test_labels
    parts = split_val_test(dataset.strata, most=space.held_out)
    if not all(map(len, parts)):
        raise DataError(
            f"data set {dataset.name} has too few held-out images: {len(images)}",
            "half of each class is val, which the search looks at, half is test",
            "give at least 2 images of a class",
        )
    val, test = (HeldOut(images[part], None if labels is None else labels[part]) for part in parts)
    return val, test


def few_held_out(space: Space, dataset: Dataset) -> str:
    """What to say when there are fewer held-out images than the space asks for; else nothing."""
    there = held_out_queries(space, dataset)
    if space.held_out is None or there >= space.held_out:
        return ""
    return f"only {there} held-out images are there, not {space.held_out}: half of them rank the students"


def held_out_queries(space: Space, dataset: Dataset) -> int:
    """What asking the held-out images once will cost."""
    return sum(len(part.images) for part in held_out(space, dataset))


def check_teacher(space: Space, dataset: Dataset) -> None:
    """Refuse a teacher that cannot be opened or reached, or does not fit. Costs no query.

    Raises UsageError, UnreachableError.
    """
    source = http_source(space, dataset.task, "check")
    if source is None:
        check_own(space.teacher, dataset)
        return
    once_more = source.spec.model_copy(update={"retries": min(1, source.spec.retries)})  # a typo is soon told
    replace(source, spec=once_more).sha256()


def prepare(
    space: Space, dataset: Dataset, layout: RunLayout, cache: Path, run_id: str, say: Callable[[str], None]
) -> Problem:
    """Reach the teacher behind HTTP, or find or train it and keep a copy in the run."""
    source = http_source(space, dataset.task, run_id)
    if source is not None:
        sha256 = source.sha256()
        say(f"teacher {source.spec.model} at {source.spec.url}")
        card = TeacherCard(sha256[:12], "http", sha256, None, None)
        return reopen(space, dataset, layout, card, run_id)

    def on_epoch(done: int, epochs: int, loss: float) -> None:
        if done in (1, epochs) or done % max(1, epochs // 5) == 0:
            say(f"training the teacher: epoch {done}/{epochs}, loss {loss:.3f}")

    teacher = find_or_train(space.teacher, dataset, cache, on_epoch)
    card = teacher.card
    known = card.test_accuracy is not None
    told = f": accuracy {card.test_accuracy:.2%} on the test split" if known else ""
    say(f"teacher {card.architecture} {card.id}{told}")
    kept(space, dataset.task, layout).keep(teacher.module)
    return reopen(space, dataset, layout, card, run_id)


def kept(space: Space, task: Task, layout: RunLayout) -> KeptTeacher:
    """The run's own copy of its teacher."""
    return KeptTeacher(str(layout.teacher), space.teacher, task, layout.filesystem)


def reopen(space: Space, dataset: Dataset, layout: RunLayout, card: TeacherCard, run_id: str) -> Problem:
    """The problem of a run whose teacher is kept in it, or behind HTTP."""
    val, test = held_out(space, dataset)
    return Problem(
        task=dataset.task,
        teacher=http_source(space, dataset.task, run_id, card.sha256) or kept(space, dataset.task, layout),
        card=card,
        val=val,
        test=test,
    )


def ask_held_out(
    problem: Problem, oracle: Oracle, between: Callable[[], None] = lambda: None
) -> tuple[EvalSet, EvalSet]:
    """(val, test) with the teacher's answers; a resumed run gets them from the record, uncharged.

    `between` is called before each request: what it raises loses no answer.
    """
    sequence = 0
    sets = []
    for part in (problem.val, problem.test):
        answers = []
        for start in range(0, len(part.images), REQUEST_ROWS):
            between()
            reply = oracle.ask(part.images[start : start + REQUEST_ROWS], sequence)
            if isinstance(reply, BudgetExhausted):
                raise RaysysError(
                    "the run's budget does not pay for the held-out images",
                    f"{problem.evaluation_queries} are asked once a run, {reply.remaining} are left",
                    "start a run with larger caps, or with fewer held-out images: -s held_out=N",
                )
            answers.append(reply.labels)
            sequence += 1
        sets.append(EvalSet(part.images, part.labels, np.concatenate(answers)))
    return sets[0], sets[1]


def held_out_accuracy(val: EvalSet, test: EvalSet) -> tuple[float | None, float | None]:
    """The teacher's accuracy on val and on test, by its answers; None where there are no labels."""

    def accuracy(part: EvalSet) -> float | None:
        return None if part.labels is None else float(np.mean(part.teacher_labels == part.labels))

    return accuracy(val), accuracy(test)


def tested_card(card: TeacherCard, val: EvalSet, test: EvalSet) -> TeacherCard:
    """The card of a teacher behind HTTP with the accuracies that its held-out answers show."""
    if card.val_accuracy is not None:
        return card
    val_accuracy, test_accuracy = held_out_accuracy(val, test)
    return replace(card, val_accuracy=val_accuracy, test_accuracy=test_accuracy)


def threads(space: Space) -> int:
    """CPU threads of a trial: the same wherever it runs, since they decide the last bits of its result."""
    return max(1, int(space.resources.cpus_per_trial))


def device(space: Space) -> str:
    """Where a trial works: on a GPU only if the space gives it a share of one, as Ray would see to it."""
    return "cuda" if space.resources.gpus_per_trial and torch.cuda.is_available() else "cpu"


def complete_config(space: Space, values: dict[str, Scalar], uid: str, seed: int) -> TrialConfig:
    """The trial's config with all defaults filled in: nothing depends on a later raysys' defaults."""
    config = resolve(space, values, uid, seed)
    options = parse_options(config.method, dict(config.options))
    return replace(config, options=options.model_dump())


def new_manifest(
    space: Space,
    dataset: Dataset,
    data_root: Path,
    *,
    name: str,
    created: str,
    seed: int,
    sampler: str,
    trials: int,
    caps: dict[str, float],
    preset: str,
) -> Manifest:
    """The manifest of a run that starts now."""
    return Manifest(
        id=f"{name}-{uuid.uuid4().hex[:8]}",
        raysys=__version__,
        created=created,
        space=to_json(space),
        space_digest=digest(space),
        preset=preset,
        method=space.method,
        response=space.response,
        objectives=tuple(
            Objective(one.name, one.direction, log=one.name == "queries") for one in space.objectives
        ),
        reference=Reference(1 / dataset.task.num_classes, budget_range(space)[1]),
        seed=seed,
        sampler=sampler,
        trials=trials,
        caps=caps,
        versions=versions(),
        code=source_sha256(),
        dataset={"name": dataset.name, "sha256": dataset.sha256, "root": str(data_root)},
    )


def check_networks(space: Space, task: Task) -> None:
    """Refuse architectures that do not exist or do not fit the task. Raises UsageError."""
    for name in (space.student, space.teacher.architecture):
        if name is not None:
            build_classifier(name, task, seed=0)
