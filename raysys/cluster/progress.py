"""What a run says while it works: a pure state and its one line; and who prints it, how often."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.text import Text

from raysys.fronts.front import final_front
from raysys.fronts.goal import Goal
from raysys.records import TrialRecord, TrialStatus

Mode = Literal["auto", "plain", "json", "none"]

LIVE_S = 0.5
PLAIN_S = 30.0
"""Seconds between two lines where no terminal redraws them."""


@dataclass(frozen=True)
class Status:
    """How far a run is. `queries` of all accounts; `budget` is the run's cap, else the trials' worst case.

    It `waits` while no node is there that a trial fits on.
    """

    trials: int
    counts: Mapping[TrialStatus, int]
    queries: int
    budget: int
    capped: bool
    front: int
    hypervolume: float
    best: float
    elapsed_s: float
    kept: int = 0
    waits: bool = False

    @property
    def left_s(self) -> float | None:
        """Seconds left if the trials go on as before; None while that is unknown, and at the end.

        `kept` trials had ended before this session and say nothing about its speed.
        """
        done = sum(self.counts.get(status, 0) for status in TrialStatus if status.ended) - self.kept
        started = done + 0.5 * self.counts.get(TrialStatus.RUNNING, 0)
        left = self.trials - self.kept - started
        return self.elapsed_s * left / started if done > 0 and left > 0 else None

    def line(self, name: str) -> str:
        """The status line of a terminal."""
        counts = self.counts
        shown = [f"{counts.get(TrialStatus.FINISHED, 0)}/{self.trials} done"]
        for status in (TrialStatus.STOPPED, TrialStatus.FAILED, TrialStatus.RUNNING):
            if counts.get(status):
                shown.append(f"{counts[status]} {status}")
        if self.waits:
            shown.append("waiting for a node")
        of = "of" if self.capped else "of at most"
        share = f" ({self.queries / self.budget:.0%})" if self.budget else ""
        spent = f"queries {amount(self.queries)} {of} {amount(self.budget)}{share}"
        best = f"  best {self.best:.1%}" if self.front else ""
        front = f"front {self.front}  HV {self.hypervolume:.3f}{best}"
        left = "" if self.left_s is None else f", ~{duration(self.left_s)} left"
        return f"{name}  {'  '.join(shown)} | {spent} | {front} | {duration(self.elapsed_s)}{left}"

    def as_json(self, name: str) -> dict[str, Any]:
        """The same as JSON data."""
        return {
            "run": name,
            "trials": {status.value: self.counts.get(status, 0) for status in TrialStatus},
            "queries": self.queries,
            "budget": self.budget,
            "front": self.front,
            "hypervolume": self.hypervolume,
            "elapsed_s": round(self.elapsed_s, 1),
            "waits_for_nodes": self.waits,
            "left_s": None if self.left_s is None else round(self.left_s, 1),
        }


def run_status(
    records: Mapping[str, TrialRecord],
    trials: int,
    evaluation: int,
    worst_case: int,
    cap: int | None,
    goal: Goal,
    elapsed_s: float,
    kept: int,
    waits: bool = False,
) -> Status:
    """The status of a run from its trials' records."""
    rows = list(records.values())
    front = final_front(rows, goal)
    counts = Counter(row.status for row in rows)
    return Status(
        trials=trials,
        counts=counts,
        queries=evaluation + sum(row.queries for row in rows),
        budget=worst_case if cap is None else cap,
        capped=cap is not None,
        front=len(front.members),
        hypervolume=front.hypervolume,
        best=float(front.score.max(initial=0.0)),
        elapsed_s=elapsed_s,
        kept=kept,
        waits=waits,
    )


class ProgressPrinter:
    """Prints a status to stderr: a live line on a terminal, else a line now and then, or JSON lines."""

    def __init__(self, mode: Mode, name: str, clock: Callable[[], float]) -> None:
        self._mode = "plain" if mode == "auto" and not sys.stderr.isatty() else mode
        self._name = name
        self._clock = clock
        self._last = -1e9
        self._live: Live | None = None

    @property
    def due(self) -> bool:
        """True when the next `show` would print."""
        if self._mode == "none":
            return False
        return self._clock() - self._last >= (LIVE_S if self._mode == "auto" else PLAIN_S)

    def show(self, status: Status) -> None:
        """Print the status."""
        self._last = self._clock()
        if self._mode == "json":
            sys.stderr.write(json.dumps(status.as_json(self._name)) + "\n")
        elif self._mode == "plain":
            sys.stderr.write(status.line(self._name) + "\n")
        elif self._mode == "auto":
            if self._live is None:
                self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
                self._live.start()
            self._live.update(Text(status.line(self._name)), refresh=True)
        sys.stderr.flush()

    def close(self) -> None:
        """Take the live line away."""
        if self._live is not None:
            self._live.stop()


def amount(images: int) -> str:
    """A short count: 950, 12.3k, 1.20M."""
    if images < 1000:
        return str(images)
    return f"{images / 1000:.1f}k" if images < 1_000_000 else f"{images / 1_000_000:.2f}M"


def duration(seconds: float) -> str:
    """mm:ss, or h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
