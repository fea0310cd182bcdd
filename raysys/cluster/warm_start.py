"""Which trials of earlier runs a new search can learn from. No torch, no ray."""

from collections.abc import Callable, Sequence
from pathlib import Path

from raysys.errors import UsageError
from raysys.fronts.objectives import score
from raysys.records import TrialRecord
from raysys.search.study_searcher import earlier_values
from raysys.space.schema import Space
from raysys.store.reader import read_run


def earlier_trials(space: Space, runs: Sequence[str | Path], say: Callable[[str], None]) -> list[TrialRecord]:
    """The finished trials of `runs` whose configs are of `space`, in the order of the runs.

    They may have had another teacher of the same data set: the sampler only begins with what helped there.
    Raises UsageError for a run about something else, or where no trial fits; CorruptRunError.
    """
    return [record for run in runs for record in _of_run(space, run, say)]


def _of_run(space: Space, run: str | Path, say: Callable[[str], None]) -> list[TrialRecord]:
    snapshot = read_run(run)
    manifest = snapshot.manifest
    wanted = {
        "data set": (manifest.space.get("dataset"), space.dataset),
        "method": (manifest.method, space.method),
        "response": (manifest.response, space.response),
        "student": (manifest.space.get("student"), space.student),
        "objective": (manifest.score, score(str(one.name) for one in space.objectives)),
    }
    for what, (theirs, ours) in wanted.items():
        if theirs != ours:
            raise UsageError(
                f"--warm-start {run}: its {what} is {theirs}, not {ours}",
                "what is good there says nothing about this search",
                "name a run of the same data set, method, response, student and objectives",
            )
    records = sorted(snapshot.records(), key=lambda record: record.uid)
    fitting = [record for record in records if earlier_values(space, record) is not None]
    if not fitting:
        raise UsageError(
            f"--warm-start {run}: none of its {len(records)} trials fits the space {space.name}",
            "only finished trials count whose values are inside all ranges",
            "leave it out, or widen the ranges",
        )
    say(f"warm start: {len(fitting)} of {len(records)} trials of {run} fit this space")
    return fitting
