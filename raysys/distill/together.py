"""The works of several trials, done together where they can be, and one by one where they cannot."""

import warnings
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from typing import Any

from raysys.distill import packed_generation, packed_pass
from raysys.distill.engine import ALONE, Generation, Pass


class Job:
    """What a trial waits for: `work`, and how it went."""

    def __init__(self, work: Generation | Pass) -> None:
        self.work = work
        self.outcome: Future[Any] = Future()


def finish(jobs: Sequence[Job]) -> None:
    """Give each job its outcome; those that can be are done together."""
    for group in grouped(jobs):
        failure = _finish_group(group)
        if failure and not any(job.outcome.exception() for job in group):
            warnings.warn(f"{len(group)} trials could not be trained as one: {failure}", RuntimeWarning, 2)


def grouped(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs that can be done together, in the order of their first ones; the longest of a group first."""
    if len(jobs) == 1:  # it needs no signature
        return [list(jobs)]
    groups: dict[Hashable, list[Job]] = {}
    for job in jobs:
        groups.setdefault(_signature(job.work), []).append(job)
    # Those that still go on when others have ended are at the front.
    return [sorted(group, key=lambda job: -_length(job.work)) for group in groups.values()]


def _signature(work: Generation | Pass) -> Hashable:
    if isinstance(work, Generation):
        return "generate", packed_generation.signature(work)
    return "run_pass", packed_pass.signature(work)


def _length(work: Generation | Pass) -> int:
    return work.options.g_steps if isinstance(work, Generation) else len(work.pool)


def _finish_group(group: Sequence[Job]) -> str:
    """All at once; where that fails, in halves, so that an error is only the trial's whose work it is.

    So it is, too, where a GPU has no room for all. Returns why it failed; nothing where it did not.
    """
    if len(group) == 1:
        _finish_alone(group[0])
        return ""
    draws = [job.work.rng.get_state() for job in group]
    try:
        results = _together([job.work for job in group])
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    else:
        for job, result in zip(group, results, strict=True):
            job.outcome.set_result(result)
        return ""
    for job, state in zip(group, draws, strict=True):
        job.work.rng.set_state(state)
    middle = len(group) // 2
    _finish_group(group[:middle])
    _finish_group(group[middle:])
    return failure


def _finish_alone(job: Job) -> None:
    work = job.work
    try:
        job.outcome.set_result(ALONE.generate(work) if isinstance(work, Generation) else ALONE.run_pass(work))
    except Exception as error:
        job.outcome.set_exception(error)


def _together(works: Sequence[Generation | Pass]) -> Sequence[Any]:
    generations = [work for work in works if isinstance(work, Generation)]
    if generations:
        return packed_generation.generate_together(generations)
    return packed_pass.run_passes_together([work for work in works if isinstance(work, Pass)])
