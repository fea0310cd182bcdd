"""What the pages look at: one frozen snapshot of a run for each session, read once for all of them."""

from datetime import datetime

import streamlit as st

from raysys.errors import StorageError, UnreachableError
from raysys.fronts.front import Front
from raysys.store.layout import RunLayout
from raysys.store.points import Kind, run_front
from raysys.store.reader import Snapshot, last_change, read_run
from raysys.store.runs import latest_layouts


def runs(storage: str) -> dict[str, str]:
    """Name -> path of the runs in a storage, the last changed first. Raises UsageError."""
    return {layout.name: layout.location for layout in latest_layouts(storage)}


def frozen(path: str) -> Snapshot:
    """The snapshot of the run at `path` that this session looks at. Raises CorruptRunError, StorageError."""
    stamps = _stamps()
    if path not in stamps:
        stamps[path] = last_change(RunLayout.open(path))
    return _read(path, stamps[path])


def current() -> Snapshot:
    """The snapshot of the run that is picked."""
    return frozen(st.session_state["path"])


def has_news(path: str) -> bool:
    """True when the run changed after this session's snapshot; False while the storage is away."""
    try:
        return last_change(RunLayout.open(path)) > _stamps()[path]
    except (StorageError, UnreachableError):
        return False


def refresh(path: str) -> None:
    """Let the next `frozen` look at the run as it is then."""
    _stamps().pop(path, None)


def front(run: Snapshot, kind: Kind = "final") -> Front:
    """The front of a snapshot, worked out once."""
    return _front(run.path, run.updated, kind, run)


def _stamps() -> dict[str, datetime]:
    stamps: dict[str, datetime] = st.session_state.setdefault("stamps", {})
    return stamps


@st.cache_resource(max_entries=16, show_spinner="Reading the run")
def _read(path: str, stamp: datetime) -> Snapshot:
    """Shared between sessions and never changed; `stamp` is part of the key."""
    del stamp
    return read_run(path)


@st.cache_resource(max_entries=64, show_spinner=False)
def _front(path: str, stamp: datetime, kind: Kind, _run: Snapshot) -> Front:
    """`path`, `stamp` and `kind` are the key: hashing tables would sample them."""
    del path, stamp
    return run_front(_run, kind)
