"""What of a run is damaged or lost without loss to the run: it is made do without, or made again."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from raysys.cluster.trial_files import TrialFiles
from raysys.distill.trial import Position, saved_position
from raysys.errors import UsageError
from raysys.files import list_folder, read_bytes
from raysys.fronts.front import final_front
from raysys.models.classifiers import build_classifier
from raysys.models.weights import load_safetensors, state_sha256
from raysys.records import Task, TrialRecord
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest
from raysys.store.reader import Snapshot


def saved_positions(
    layout: RunLayout, records: Sequence[TrialRecord]
) -> tuple[dict[str, Position], list[str]]:
    """Where the saved states of trials stand, by uid, and which ones are damaged, a sentence each.

    Raises CorruptRunError for one of another version, StorageError.
    """
    positions, damaged = {}, []
    listed = list_folder(layout.filesystem, layout.root / "checkpoints")
    folders = {info.base_name for info in listed}  # most trials have none left
    for uid in (record.uid for record in records if record.uid in folders):
        state, unread = TrialFiles(layout, uid).newest()
        if state is not None:
            positions[uid] = saved_position(state)
        instead = "the ledger's answers stand in" if state is None else "the one before it stands in"
        damaged += [f"checkpoints/{uid}/{name} is damaged: {instead} for it" for name in unread]
    return positions, damaged


def lost_reports(snapshot: Snapshot, ended: Sequence[TrialRecord]) -> dict[str, str]:
    """By uid, what is lost of the reports of trials that ended."""
    steps: dict[str, list[tuple[int, int]]] = {}
    for row in snapshot.reports.select(["uid", "step", "queries"]).to_pylist():
        steps.setdefault(row["uid"], []).append((row["step"], row["queries"]))
    return {
        record.uid: why for record in ended if (why := missing_reports(record, steps.get(record.uid, [])))
    }


def missing_reports(record: TrialRecord, steps: Sequence[tuple[int, int]]) -> str:
    """Why the reports of a trial that ended are not all there; empty when they are.

    `steps` are (step, queries) of its reports, by rising step. They may tell of more than its row does: of an
    attempt that died, after which the trial did not come as far again.
    """
    if [step for step, _ in steps] != list(range(len(steps))):
        return "some of its reports are lost"
    if (steps[-1][1] if steps else 0) < record.queries:
        return "its last reports are lost"
    return ""


def lost_students(
    layout: RunLayout, records: Sequence[TrialRecord], task: Task, manifest: Manifest
) -> dict[str, str]:
    """By uid, why students of the front so far cannot be delivered. Raises StorageError."""
    front = [records[row] for row in final_front(records, manifest.goal).rows()]
    return {record.uid: why for record in front if (why := _lost_student(layout, record, task))}


def _lost_student(layout: RunLayout, record: TrialRecord, task: Task) -> str:
    """Why the student of a trial on the front cannot be delivered; empty when it can."""
    folder = layout.students(record.uid)
    student = build_classifier(record.config.student, task, seed=0)
    try:
        load_safetensors(student, folder / "weights.safetensors", layout.filesystem)
        config = json.loads(read_bytes(layout.filesystem, folder / "config.json") or b"")
    except (UsageError, ValueError):
        return "its student is missing or damaged"
    if record.weights_sha256 not in ("", state_sha256(student)):
        return "its student's weights are not those that its row names"
    milestones = config.get("milestones") if isinstance(config, dict) else None
    return (
        ""
        if config == {**asdict(record.config), "milestones": milestones}
        else "its student's config.json is not its config"
    )


def damaged_tables(layout: RunLayout, snapshot: Snapshot) -> list[str]:
    """What is damaged or lost of the run's tables, as a sentence; nothing where nothing is."""
    names = [Path(path).relative_to(layout.root).as_posix() for path in snapshot.damaged]
    lost = f"; {snapshot.skipped} part(s) are lost: what needs them is done again" if snapshot.skipped else ""
    if not names:
        return [lost.removeprefix("; ")] if lost else []
    return [f"{', '.join(names)} cannot be read" + (lost or ": the parts that were merged into it are")]
