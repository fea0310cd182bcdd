"""The runs in a storage."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pyarrow.fs import FileInfo, FileSelector, LocalFileSystem

from raysys.errors import CorruptRunError, StorageError, UsageError
from raysys.records import TrialStatus
from raysys.store.driver import read_driver
from raysys.store.layout import RunLayout, inside, open_storage
from raysys.store.manifest import RunState
from raysys.store.points import run_front
from raysys.store.reader import read_run, read_without_reports


@dataclass(frozen=True)
class RunSummary:
    """One line about a run; where it cannot be read, `problem` says why and the rest is empty.

    `alive`: a driver works on it, by its files. A run that is `running` and not alive waits for a resume.
    """

    name: str
    path: str
    problem: str = ""
    state: RunState | None = None
    alive: bool = False
    created: str = ""
    updated: datetime | None = None
    space: str = ""
    counts: Mapping[TrialStatus, int] = field(default_factory=dict)
    charged: int = 0
    front: int = 0
    hypervolume: float = 0.0

    @property
    def told_state(self) -> str:
        """Its state; of one that says it is running, also that nobody works on it."""
        return (
            f"{self.state} (dead)" if self.state is RunState.RUNNING and not self.alive else str(self.state)
        )


def discover(storage: str | Path) -> list[RunSummary]:
    """The runs in a storage (folders with a run.json), newest first; unreadable ones last, with a problem.

    Raises UsageError when the storage does not exist.
    """
    return newest_first(summarise(layout) for layout in latest_layouts(storage))


def newest_first(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """The last created first, those of one moment by name; unreadable ones last."""
    by_name = sorted(runs, key=lambda run: run.name)
    return sorted(by_name, key=lambda run: (not run.problem, run.created), reverse=True)


def latest_layouts(storage: str | Path, most: int | None = None) -> list[RunLayout]:
    """At most so many layouts, those whose manifests were written last first. Raises UsageError, too."""
    found = sorted(_manifests(storage), key=lambda one: (one[1].mtime_ns or 0, one[1].path), reverse=True)
    return [layout for layout, _ in found[:most]]


def _manifests(storage: str | Path) -> list[tuple[RunLayout, FileInfo]]:
    """The runs in a storage, each with what the filesystem tells of its run.json."""
    filesystem, root = open_storage(storage)
    uri = "" if isinstance(filesystem, LocalFileSystem) else str(storage)
    try:
        entries = filesystem.get_file_info(FileSelector(str(root)))
        layouts = [
            RunLayout(Path(entry.path), filesystem, uri and inside(uri, entry.base_name))
            for entry in entries
            if not entry.is_file
        ]
        known = filesystem.get_file_info([str(layout.run_json) for layout in layouts])
        before = filesystem.get_file_info([str(layout.previous_run_json) for layout in layouts])
    except OSError as failure:
        raise UsageError(
            f"cannot list the runs in {uri or root}",
            str(failure).partition("\n")[0],
            "give the folder that holds the runs (default: ./runs)",
        ) from None
    newest = [one if one.is_file else other for one, other in zip(known, before, strict=True)]
    return [(layout, info) for layout, info in zip(layouts, newest, strict=True) if info.is_file]


def summarise(layout: RunLayout) -> RunSummary:
    """One line about a run."""
    name, path = layout.name, layout.location
    try:
        snapshot = read_without_reports(layout)
        running = snapshot.manifest.state is RunState.RUNNING
        alive = running and has_driver(layout)
        if running:  # its manifest does not know yet what was charged
            snapshot = read_run(layout)
    except (CorruptRunError, StorageError) as failure:
        return RunSummary(name, path, problem=f"{failure.what}: {failure.why}")
    front = run_front(snapshot)
    return RunSummary(
        name=name,
        path=path,
        state=snapshot.manifest.state,
        alive=alive,
        created=snapshot.manifest.created,
        updated=snapshot.updated,
        space=str(snapshot.manifest.space.get("name", "")),
        counts=snapshot.counts(),
        charged=snapshot.charged,
        front=len(front.members),
        hypervolume=front.hypervolume,
    )


def has_driver(layout: RunLayout) -> bool:
    """True when a driver works on the run, by its sign of life. Raises StorageError."""
    driver = read_driver(layout)
    return driver is not None and driver.alive
