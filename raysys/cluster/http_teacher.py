"""A run's teacher behind HTTP, and what its server counted. No torch, no ray."""

from collections.abc import Callable
from dataclasses import replace

from raysys.records import Task
from raysys.space.schema import Space
from raysys.teacher.backend import Source
from raysys.teacher.counter import read_counter
from raysys.teacher.http import HttpSource


def http_source(space: Space, task: Task, run_id: str, sha256: str | None = None) -> HttpSource | None:
    """The space's teacher behind HTTP, if it is one; with `sha256`, no other model will do.

    Raises UsageError for a key that cannot be used.
    """
    spec = space.teacher.http
    if spec is None:
        return None
    named = spec.model_copy(update={"model": spec.model or space.name})
    mean, std = space.teacher.mean, space.teacher.std
    return replace(HttpSource.from_spec(named, task, space.response, run_id, mean, std), expected=sha256)


def reconcile(source: Source, count: Callable[[int], object]) -> None:
    """Tell the ledger what the teacher's server counted, if it does; call it while nothing is asked.

    What was sent and never answered (a lost connection, a killed process) may or may not have been executed:
    only the server knows.
    """
    counted = read_counter(source) if isinstance(source, HttpSource) else None
    if counted is not None:
        count(counted)
