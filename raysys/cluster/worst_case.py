"""What a run may take at most: queries, money and time, before it starts. No torch, no ray."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysys.cluster.caps import most_queries
from raysys.cluster.plan import budget_range, most_held_out
from raysys.errors import CorruptRunError, StorageError, UsageError
from raysys.records import TrialRecord, TrialStatus
from raysys.space.schema import Space
from raysys.store.manifest import Manifest, read_manifest
from raysys.store.reader import latest_trials, trials_of
from raysys.store.runs import latest_layouts
from raysys.store.schema import TRIALS, trial_record

MOST_RUNS = 50
"""As many of a storage's latest runs are looked at."""


@dataclass(frozen=True)
class WorstCase:
    """The most that a run may take.

    `queries` in images: every trial spends the largest budget, evaluation included where `held_out` is known
    before the data set is read (else None), but never more than the run's caps. `cost` in USD, None without a
    price. `trial_seconds` is the longest that a trial of the largest budget should take, None where nothing
    is known; `seconds` that of all trials, never less than the teacher's rate limit makes it. `judged_by`
    counts the earlier trials that tell.
    """

    queries: int
    held_out: int | None
    cost: float | None
    trial_seconds: float | None
    seconds: float | None
    judged_by: int


def worst_case(
    space: Space, caps: Mapping[str, float], earlier: Sequence[TrialRecord], at_once: int
) -> WorstCase:
    """The worst case of a run of `space` with `at_once` trials at a time, judged by `earlier` trials.

    A trial takes as long as the slowest earlier one did for a query, times its budget. That overstates large
    budgets, since what a trial needs beside its queries is counted with each of them. Earlier trials that
    asked less than their budget allowed are left out: their time tells little of their queries.
    """
    _, largest = budget_range(space)
    held_out = most_held_out(space)
    queries = space.trials * largest + (held_out or 0)
    if (most := most_queries(caps, space.price)) is not None:
        queries = min(queries, most)
    paces = [
        one.seconds / one.queries
        for one in earlier
        if one.status is TrialStatus.FINISHED and one.queries and not one.error
    ]
    each = max(paces) * largest if paces else None
    rate = space.teacher.http.queries_per_second if space.teacher.http else None
    known = [] if each is None else [math.ceil(space.trials / at_once) * each]
    known += [queries / rate] if rate else []
    cost = queries * space.price if space.price else None
    return WorstCase(queries, held_out, cost, each, max(known, default=None), len(paces))


def trials_like(storage: str | Path, space: Space) -> list[TrialRecord]:
    """Trials in the latest runs of `storage` with the space's data set, method, response and student.

    What cannot be read is passed over; a storage that does not exist has none.
    """
    try:
        layouts = latest_layouts(storage, MOST_RUNS)
    except UsageError:
        return []
    found = []
    for layout in layouts:
        try:
            if _is_alike(read_manifest(layout), space):
                table = trials_of(layout).read().table
                rows = latest_trials(table).select(TRIALS.names).to_pylist()
                found += [trial_record(row) for row in rows]
        except (CorruptRunError, StorageError):
            continue
    return found


def _is_alike(manifest: Manifest, space: Space) -> bool:
    theirs, here = (
        (one.get("dataset"), one.get("method"), one.get("response"), one.get("student"))
        for one in (manifest.space, space.model_dump())
    )
    return theirs == here
