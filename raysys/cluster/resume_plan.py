"""What a resume will do, as plain data and as text for a person. No files, no ray, no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from raysys.cluster.caps import told

SHOWN = 8
"""Trials that are told of one by one; of more, only how many they are."""


@dataclass(frozen=True)
class GoesOn:
    """A trial that goes on from its saved state: `reports` told, `queries` spent; both 0: from its start.

    `answered` images beyond these were charged already: the ledger answers them.
    """

    uid: str
    reports: int
    queries: int
    answered: int
    budget: int

    def __str__(self) -> str:
        where = f"after report {self.reports}" if self.reports else "from its start"
        known = f"; the ledger answers the next {self.answered:,}" if self.answered else ""
        return f"{self.uid} goes on {where}, at {self.queries:,} of {self.budget:,} queries{known}"


@dataclass(frozen=True)
class ResumePlan:
    """What a resume will do with a run, before it does it. All queries are images.

    `kept` counts the trials that stay as they are, by status; `again` says why trials that ended are made
    again from the ledger's answers, by uid. `search` and `earlier` count the trials of this run and of others
    that the search is rebuilt from, `milestones` the reports that early stopping is. `fallbacks` tells what
    is damaged or missing and what stands in for it, `changed` what is not as when the run began.
    """

    run: str
    kept: Mapping[str, int]
    goes_on: Sequence[GoesOn]
    again: Mapping[str, str]
    to_start: int
    charged: int
    executed: int
    price: float
    caps: Mapping[str, float]
    search: int
    earlier: int
    milestones: int
    fallbacks: Sequence[str]
    changed: Sequence[str]

    @property
    def is_empty(self) -> bool:
        """True when no trial is left to work on."""
        return not (self.goes_on or self.again or self.to_start)

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of `raysys tune --resume RUN --dry-run --json`."""
        return {**asdict(self), "cost": self.executed * self.price}

    def lines(self) -> list[str]:
        """The plan for a person."""
        kept = ", ".join(f"{count} {status}" for status, count in self.kept.items())
        counts = (
            ("kept" + (f" ({kept})" if kept else ""), sum(self.kept.values())),
            ("to go on", len(self.goes_on)),
            ("to do again", len(self.again)),
            ("to start", self.to_start),
        )
        told = ", ".join(f"{count} {what}" for what, count in counts)
        return [f"resuming: trials: {told}", *(f"  {line}" for line in self._details())]

    def _details(self) -> Iterator[str]:
        yield from _few([str(one) for one in self.goes_on], "go on")
        again = [f"{uid} is done again, nothing is paid: {why}" for uid, why in self.again.items()]
        yield from _few(again, "are done again, nothing is paid")
        spent = f"spent so far: {self.charged:,} queries charged, {self.executed:,} sent"
        if self.price:
            spent += f", {self.executed * self.price:,.2f} USD"
        yield spent + (f"; the run's cap: {told(self.caps)}" if self.caps else "")
        search = f"the search is rebuilt from {self.search} trials"
        search += f" and {self.earlier} of earlier runs" if self.earlier else ""
        yield search + (
            f", early stopping from {self.milestones} reports at milestones" if self.milestones else ""
        )
        yield from (f"note: {line}" for line in self.fallbacks)
        yield from (f"changed: {line}" for line in self.changed)


def _few(lines: Sequence[str], what: str) -> Iterator[str]:
    yield from lines[:SHOWN]
    if len(lines) > SHOWN:
        yield f"... and {len(lines) - SHOWN} more {what}"
