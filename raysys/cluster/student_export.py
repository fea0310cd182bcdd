"""A student that was kept, as a folder of its own: weights, config and model card."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path

from raysys.cluster.plan import space_task
from raysys.errors import CorruptRunError, UsageError, nearest
from raysys.files import read_bytes
from raysys.models.classifiers import Classifier, build_classifier
from raysys.models.weights import load_safetensors, state_sha256
from raysys.records import TrialRecord
from raysys.space.load import from_json
from raysys.store.layout import RunLayout
from raysys.store.model_card import CARD, CONFIG, WEIGHTS, kept_students, model_card
from raysys.store.reader import Snapshot

_MOST_NAMED = 10


def student_files(layout: RunLayout, snapshot: Snapshot, uid: str) -> dict[str, bytes]:
    """The files of the folder by name; the weights are those that the trial's row names.

    Raises UsageError for a trial that is none, or whose student was not kept, CorruptRunError for one that
    is damaged, StorageError.
    """
    record = _record(layout, snapshot, uid)
    task = space_task(from_json(snapshot.manifest.space))
    path = layout.students(uid) / WEIGHTS
    weights = read_bytes(layout.filesystem, path)
    if weights is None:
        raise _not_kept(layout, snapshot, uid)
    _check(layout, path, record, build_classifier(record.config.student, task, seed=0))
    config = {**asdict(record.config), "image_shape": task.image_shape, "num_classes": task.num_classes}
    return {
        WEIGHTS: weights,
        CONFIG: json.dumps(config, indent=2).encode(),
        CARD: model_card(snapshot, record, task).encode(),
    }


def _record(layout: RunLayout, snapshot: Snapshot, uid: str) -> TrialRecord:
    records = {record.uid: record for record in snapshot.records()}
    if uid not in records:
        raise UsageError(f"{snapshot.name} has no trial {uid}", _kept(layout), nearest(uid, records))
    return records[uid]


def _not_kept(layout: RunLayout, snapshot: Snapshot, uid: str) -> UsageError:
    return UsageError(
        f"the student of {uid} was not kept",
        f"only those of the front are; {_kept(layout)}",
        f"the same once more, with new queries: raysys trial --from {shlex.quote(snapshot.path)}:{uid}",
    )


def _kept(layout: RunLayout) -> str:
    uids = kept_students(layout)
    if not uids:
        return "no student is kept yet"
    more = f" and {len(uids) - _MOST_NAMED} more" if len(uids) > _MOST_NAMED else ""
    return f"kept: {', '.join(uids[:_MOST_NAMED])}{more}"


def _check(layout: RunLayout, path: Path, record: TrialRecord, student: Classifier) -> None:
    """The weights are those of the trial, and can be loaded as its card says."""
    try:
        load_safetensors(student, path, layout.filesystem)
    except UsageError as failure:
        raise CorruptRunError(
            f"the student of {record.uid} is damaged", str(failure), "restore it from a backup"
        ) from None
    if record.weights_sha256 not in ("", state_sha256(student)):
        raise CorruptRunError(
            f"the student of {record.uid} is not the one that its trial made",
            f"its row names the weights {record.weights_sha256[:12]}..., the file has others",
            "restore it from a backup",
        )
