"""One trial from the first query to the student, as one function: no Ray, no files, no clock of its own."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import nn

from raysys.distill.determinism import compute_deterministically
from raysys.distill.engine import ALONE, Engine
from raysys.distill.evaluation import evaluate
from raysys.distill.method import Asked, Method, Setting, joined
from raysys.distill.registry import build_method
from raysys.distill.stopwatch import Stopwatch, Timed
from raysys.errors import CorruptRunError
from raysys.oracle import BudgetExhausted, Images, Oracle, Response
from raysys.records import REST, EvalSet, Report, Task, TrialConfig

STATE_VERSION = 3
READABLE = (2, 3)
"""Versions of saved states that are read: those of 2 have torch's optimizers, and no times."""

DIVERGED = "diverged: the student's outputs are NaN"
"""The note of a trial that ended with such a student."""


class Keeper(Protocol):
    """Where a trial's things go; how and where is not the trial's business."""

    def load(self) -> bytes | None:
        """The newest saved state of this trial that is whole, or None."""
        ...

    def save(self, state: bytes, sequence: int) -> None:
        """Keep a state that has made the requests before `sequence`, and the one before it.

        Requests that neither of the two will make again may go.
        """
        ...

    def keep_request(self, sequence: int, images: Images) -> None:
        """Keep the images of a request, uint8 (n, c, h, w), replacing what was kept for this number."""
        ...

    def kept_request(self, sequence: int) -> Images | None:
        """The images kept for a request, or None."""
        ...

    def keep_pairs(self, first: int, images: Images, response: Response) -> None:
        """Keep what was asked, uint8 (n, c, h, w), n >= 1, from image number `first` on, with the answers.

        A trial that goes on from an older state keeps the same numbers again: the later ones count.
        """
        ...

    def show(self, step: int, samples: Images) -> None:
        """Keep images worth a look, uint8 (n, c, h, w)."""
        ...


class KeptRequests:
    """Requests whose images are kept before they are asked. A `distill.method.Requests`.

    A trial that is cut off after a charge goes on from an older state and makes its images again; unless
    every bit of its arithmetic is the same (another CPU, thread count or device), they differ from those
    that were paid for. What was kept is asked instead: its answer stands in the ledger.
    """

    def __init__(self, oracle: Oracle, keeper: Keeper, watch: Stopwatch) -> None:
        self._oracle = oracle
        self._keeper = keeper
        self._watch = watch
        self._asked: list[Asked] = []

    def ask(self, images: Images, sequence: int) -> Asked | None:
        """See `Requests.ask`."""
        with self._watch("save"):
            kept = self._keeper.kept_request(sequence)
            if kept is None:
                self._keeper.keep_request(sequence, images)
            else:
                images = kept
        # Other trials ask at the same time: what a run's cap leaves may shrink again and again.
        while isinstance(reply := self._answer(images, sequence), BudgetExhausted):
            if not reply.remaining:
                return None
            images = images[: reply.remaining]
            with self._watch("save"):
                self._keeper.keep_request(sequence, images)
        self._asked.append(Asked(images, reply))
        return self._asked[-1]

    def _answer(self, images: Images, sequence: int) -> Response | BudgetExhausted:
        with self._watch("ask"):
            return self._oracle.ask(images, sequence)

    def keep_pairs(self, queries: int) -> None:
        """Keep what was asked since the last call; `queries` counts all that the trial has asked."""
        if (whole := joined(self._asked)) is not None:
            self._keeper.keep_pairs(queries - len(whole.images), whole.images, whole.response)
        self._asked = []


@dataclass(frozen=True)
class Outcome:
    """A finished trial: its student in eval mode, and all its reports, the last one final.

    `note` says what a person should know: that it diverged, or why it asked less than its budget allowed
    (`Method.note`).
    """

    student: nn.Module
    reports: Sequence[Report]
    note: str = ""


def run_trial(
    config: TrialConfig,
    task: Task,
    oracle: Oracle,
    val: EvalSet,
    keeper: Keeper,
    on_reports: Callable[[Sequence[Report]], None],
    clock: Callable[[], float],
    device: str = "cpu",
    images: Images | None = None,
    engine: Engine = ALONE,
) -> Outcome:
    """Run a trial to its end, or go on from its last saved state.

    `images` are real training images for a method that `needs_images`, and None for any other; `engine` does
    the heavy parts.

    `on_reports` gets each new report, after the state that it belongs to is saved; after a restart it
    gets all earlier ones once more, since nobody knows which of them arrived. The same config, task and
    answers give the same student, however often the trial was interrupted; interrupted on one machine and
    gone on with on another, it ends with another student, but no image is paid for twice.
    """
    compute_deterministically()
    saved = keeper.load()
    state = None if saved is None else _unpack(saved)
    reports = [] if state is None else [Report(**row) for row in state["reports"]]
    watch = Stopwatch(clock, _time_of(reports[-1]) if reports else None)
    requests = KeptRequests(oracle, keeper, watch)

    def report(student: nn.Module, losses: Mapping[str, float], milestone: bool = False) -> None:
        with watch("evaluate"):
            accuracy, agreement = evaluate(student, val)
        seconds_by = watch.read()
        reports.append(
            Report(
                uid=config.uid,
                attempt=oracle.epoch,
                step=len(reports),
                queries=method.queries,
                val_accuracy=accuracy,
                agreement=agreement,
                pool_size=method.pool_size,
                seconds=math.fsum(seconds_by.values()),
                losses=dict(losses),
                milestone=milestone,
                seconds_by=seconds_by,
            )
        )

    def at_milestone(method: Method) -> None:
        report(method.preview(), {}, milestone=True)
        on_reports(reports[-1:])  # after a restart it comes again: the same one

    timed = Timed(engine, watch)
    method = build_method(Setting(config, task, requests, device, images, at_milestone, timed, watch))
    if state is not None:
        method.load_state_dict(state["method"])
    if reports:
        on_reports(reports)
    for progress in method.run():
        report(method.student, progress.losses)
        with watch("save"):
            if progress.samples is not None:
                keeper.show(reports[-1].step, progress.samples)
            requests.keep_pairs(method.queries)  # before the state that does not ask for them again
            keeper.save(_pack(method, reports), method.sequence)
        on_reports(reports[-1:])
    notes = (DIVERGED if reports and math.isnan(reports[-1].agreement) else "", method.note)
    return Outcome(method.student.eval(), reports, "; ".join(filter(None, notes)))


def _pack(method: Method, reports: Sequence[Report]) -> bytes:
    """The state as torch saves it, which has no checksum: a keeper must see to that."""
    buffer = io.BytesIO()
    state = {
        "version": STATE_VERSION,
        "method": method.state_dict(),
        "reports": [asdict(report) for report in reports],
    }
    torch.save(state, buffer)
    return buffer.getvalue()


def _time_of(report: Report) -> Mapping[str, float]:
    """Where the time went up to a report; an older raysys did not tell."""
    return report.seconds_by or {REST: report.seconds}


@dataclass(frozen=True)
class Position:
    """Where a saved state stands: requests made, queries spent, and reports told."""

    requests: int
    queries: int
    reports: int


def saved_position(saved: bytes) -> Position:
    """Where a saved state stands. Raises CorruptRunError."""
    state = _unpack(saved)
    method = state["method"]
    return Position(method["sequence"], method["queries"], len(state["reports"]))


def _unpack(saved: bytes) -> dict[str, Any]:
    """What `_pack` packed; never unpickles anything but tensors and plain values. Raises CorruptRunError."""
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(saved), weights_only=True)  # noqa: TID251
        version = state["version"]
    except Exception as error:
        raise CorruptRunError(
            "a trial's saved state cannot be read",
            str(error).partition("\n")[0],
            "without its folder in checkpoints/ it starts again; the ledger answers what it asked before",
        ) from error
    if version not in READABLE:
        raise CorruptRunError(
            f"a trial's saved state has version {version}, this raysys reads {READABLE[0]} and {READABLE[1]}",
            hint="resume the run with the raysys that wrote it",
        )
    return state
