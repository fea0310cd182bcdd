"""What the pages look at: frozen snapshots of runs for each session, read once for all of them.

Nothing here changes until `refresh`: a chart whose data changes loses its zoom and its selection.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import pyarrow as pa
import streamlit as st

from dashboard.door import door
from raysys.errors import StorageError, UnreachableError
from raysys.store.layout import RunLayout, open_storage
from raysys.store.reader import Snapshot, last_change, read_run
from raysys.store.runs import latest_layouts

MOST_BYTES = 220 * 2**20
"""Of tables in memory: two runs with a million reports each, or a few thousand small ones."""

P = ParamSpec("P")
R = TypeVar("R")


def runs(storage: str) -> dict[str, RunLayout]:
    """Name -> layout of the runs in a storage, the last changed first; all are read through one door.

    Raises UsageError, UnreachableError.
    """
    filesystem = door(*open_storage(storage))
    return {layout.name: replace(layout, filesystem=filesystem) for layout in latest_layouts(storage)}


def frozen(layout: RunLayout) -> Snapshot:
    """The snapshot of a run that this session looks at. Raises CorruptRunError, StorageError."""
    stamps = _stamps()
    if layout.location not in stamps:
        stamps[layout.location] = last_change(layout)
    return _KEPT.read(layout, stamps[layout.location])


def has_news(layout: RunLayout) -> bool:
    """True when the run changed after this session's snapshot; False while the storage is away."""
    try:
        return last_change(layout) > _stamps()[layout.location]
    except (StorageError, UnreachableError):
        return False


def refresh(layout: RunLayout) -> None:
    """Let the next `frozen` look at the run as it is then."""
    _stamps().pop(layout.location, None)


def cached(
    function: Callable[Concatenate[Snapshot, P], R], run: Snapshot, *args: P.args, **kwargs: P.kwargs
) -> R:
    """`function(run, ...)`, worked out once for each snapshot and arguments.

    What it returns is shared between sessions: never change it. Arguments are told apart by their `repr`.
    """
    return _cached(_identity(run), _key(function, args, kwargs), lambda: function(run, *args, **kwargs))


def cached_all(
    function: Callable[Concatenate[tuple[Snapshot, ...], P], R],
    runs: tuple[Snapshot, ...],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """`cached` of a function of several snapshots."""
    identity = tuple(map(_identity, runs))
    return _cached(identity, _key(function, args, kwargs), lambda: function(runs, *args, **kwargs))


def _key(function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> str:
    """A call in words; each page runs as a module of the same name, so functions are told apart by file."""
    return f"{inspect.getfile(function)}:{function.__qualname__} {args!r} {sorted(kwargs.items())!r}"


def _identity(run: Snapshot) -> tuple[str, str, str]:
    """What tells a snapshot from others: the frame may look at a run with other objectives than its own."""
    return run.path, run.updated.isoformat(), ",".join(run.manifest.goal.names)


def _stamps() -> dict[str, datetime]:
    stamps: dict[str, datetime] = st.session_state.setdefault("stamps", {})
    return stamps


class _Kept:
    """The snapshots that were looked at last, shared between sessions and never changed."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, datetime], Snapshot] = {}
        # Those that a session still looks at are in memory anyway, also when they are more than MOST_BYTES.
        self._alive: WeakValueDictionary[tuple[str, datetime], Snapshot] = WeakValueDictionary()
        self._one_reads = Lock()  # two at once would take the memory twice

    def read(self, layout: RunLayout, stamp: datetime) -> Snapshot:
        """The run as it was at `stamp`. Raises CorruptRunError, StorageError."""
        key = (layout.location, stamp)
        with self._one_reads:
            run = self._alive.get(key)
            if run is None:
                run = self._alive[key] = read_run(layout)
                pa.default_memory_pool().release_unused()  # what reading took for a moment
            self._runs.pop(key, None)
            self._runs[key] = run  # the last used one is the last
            while len(self._runs) > 1 and sum(map(_size, self._runs.values())) > MOST_BYTES:
                del self._runs[next(iter(self._runs))]
        return run


def _size(run: Snapshot) -> int:
    return int(run.trials.nbytes + run.reports.nbytes)


_KEPT = _Kept()


@st.cache_resource(max_entries=128, show_spinner=False)
def _cached(identity: object, key: str, _make: Callable[[], R]) -> R:
    """`identity` and `key` are the key: hashing tables would sample them."""
    del identity, key
    return _make()
