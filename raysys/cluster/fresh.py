"""Students trained afresh on what trials paid for: one recipe for all, so that only the queries differ."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from raysys.cluster import problem as problems
from raysys.cluster.plan import check_space
from raysys.distill.determinism import compute_deterministically
from raysys.distill.evaluation import predict
from raysys.distill.image_pool import ImagePool
from raysys.distill.learner import fresh_student
from raysys.distill.options import StudentOptions
from raysys.errors import DataError, UsageError
from raysys.space.load import from_json
from raysys.store.comparison import Entry, Row
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest
from raysys.store.pairs import has_pairs, read_pairs


def with_pairs(rows: Sequence[Row]) -> list[Row]:
    """The rows of which every trial's pairs are kept. Raises UsageError when there is none."""
    kept = [row for row in rows if all(_has_pairs(entry) for entry in row.entries)]
    if not kept:
        raise UsageError(
            "no fresh student can be trained: no row has the images that its trials asked",
            "they are kept beside the students of a run's front, by this raysys and later ones",
            "leave out --fresh, or run the trials again: raysys trial",
        )
    return kept


def train_fresh(
    rows: Sequence[Row],
    manifest: Manifest,
    recipe: StudentOptions,
    data_root: Path | None,
    say: Callable[[str], None],
    first: int | None = None,
) -> list[Row]:
    """`rows` with the accuracies of fresh students, each with its trial's seed. No query is made.

    A student learns from the `first` pairs that its trial paid for, or from all.
    `manifest` is of any run among those compared; its data set is read below `data_root`, or where the run
    found it. Rows without all pairs stay as they are. Raises UsageError, DataError, CorruptRunError.
    """
    kept = with_pairs(rows)
    space = from_json(manifest.space)
    dataset = problems.read_dataset(space, check_space(space), data_root or Path(manifest.dataset["root"]))
    if dataset.sha256 != manifest.dataset["sha256"]:
        raise DataError(
            f"the data set {dataset.name} is not the one of the runs",
            f"they had {manifest.dataset['sha256'][:12]}, this is {dataset.sha256[:12]}",
            "name the folder with theirs: --data-root DIR",
        )
    if dataset.test_labels is None:
        raise UsageError("fresh students are ranked by accuracy, and these held-out images have no labels")
    compute_deterministically()
    torch.set_num_threads(problems.threads(space))
    parts = problems.held_out(space, dataset)

    def trained(entry: Entry) -> Entry:
        config = entry.record.config
        pool = ImagePool(dataset.task.image_shape, dataset.task.num_classes)
        pool.add(*read_pairs(RunLayout.open(entry.run), entry.record.uid))
        pool = pool if first is None else pool.first(first)
        device = problems.device(space)
        student = fresh_student(pool, config.student, recipe, dataset.task, config.seed, device)
        val, test = (float(np.mean(predict(student, part.images) == part.labels)) for part in parts)
        all_it_has = ", all it has" if first is not None and len(pool) < first else ""
        pairs = f"{len(pool):,} pairs{all_it_has}"
        say(f"{entry.name}  {config.method}  {pairs}  seed {config.seed}  fresh val {val:.2%}")
        return replace(entry, fresh_val_accuracy=val, fresh_test_accuracy=test)

    for row in rows:
        for entry in row.entries:
            if row not in kept and not _has_pairs(entry):
                say(f"{entry.name}  no pairs are kept, only those of delivered students: no fresh student")
    return [
        replace(row, entries=tuple(trained(entry) for entry in row.entries)) if row in kept else row
        for row in rows
    ]


def _has_pairs(entry: Entry) -> bool:
    return has_pairs(RunLayout.open(entry.run), entry.record.uid)
