"""The audit: do ledger, reports, checkpoints and the teacher's own counter agree, image by image?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from itertools import accumulate
from typing import Any

from raysys.records import EVALUATION, Account, TrialStatus
from raysys.store.reader import Snapshot


@dataclass(frozen=True)
class Counted:
    """What the teacher's own server counted: `images`, when the ledger had charged `charged` already."""

    images: int
    charged: int


@dataclass(frozen=True)
class Evidence:
    """What is known besides the run's tables. All counts are images.

    `accounts` of the ledger (uid, or `evaluation` -> account), and those that were `settled` in it before the
    tables were read (a trial may start meanwhile); `requests` that it charged (uid -> sequence -> images),
    and those `asked_again` after their answer was recorded; `checkpoints` (uid -> requests made and queries
    spent, by the trial's saved state); and what the teacher's server counted, where it tells.
    """

    accounts: Mapping[str, Account]
    settled: frozenset[str] = frozenset()
    requests: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    asked_again: Mapping[str, Sequence[int]] = field(default_factory=dict)
    checkpoints: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    counted: Counted | None = None


@dataclass(frozen=True)
class TrialAudit:
    """One trial. All counts are images.

    `executed` is what was sent in all attempts: beyond `charged`, no answer was recorded. `reported` is the
    most that the trial's row and reports claim; `orphaned` is charged, answer never used: of a trial that
    did not finish, charged beyond what it reported (a running one may still).
    """

    uid: str
    status: str
    charged: int
    executed: int
    orphaned: int
    budget: int
    reported: int


@dataclass(frozen=True)
class AuditResult:
    """Totals over all accounts (`evaluation` included), and what does not hold, one sentence each."""

    run: str
    charged: int
    executed: int
    orphaned: int
    evaluation: int
    counted: int | None
    mismatches: tuple[str, ...]
    trials: tuple[TrialAudit, ...]

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of `raysys audit --json`."""
        data = asdict(self)
        return {**data, "mismatches": list(self.mismatches), "trials": list(data["trials"])}


def audit(snapshot: Snapshot, evidence: Evidence) -> AuditResult:
    """Compare the ledger and other evidence with a run's tables. By accounts alone: only totals."""
    accounts, counted = evidence.accounts, evidence.counted
    reported = _reported(snapshot)
    totals = _totals(snapshot) if evidence.requests else {}
    statuses = dict(
        zip(snapshot.trials["uid"].to_pylist(), snapshot.trials["status"].to_pylist(), strict=True)
    )
    trials = tuple(
        _trial(uid, statuses[uid], accounts.get(uid, Account(uid, 0, 0, 0)), reported[uid])
        for uid in sorted(statuses)
    )
    charged = sum(account.charged for account in accounts.values())
    evaluation = accounts.get(EVALUATION)
    return AuditResult(
        run=snapshot.path,
        charged=charged,
        executed=sum(account.executed for account in accounts.values()),
        orphaned=sum(trial.orphaned for trial in trials),
        evaluation=evaluation.charged if evaluation else 0,
        counted=None if counted is None else counted.images,
        mismatches=(
            *(text for trial in trials for text in _mismatches(trial)),
            *(text for uid in sorted(statuses) for text in _requests(uid, totals.get(uid, []), evidence)),
            *_foreign(evidence, statuses),
            *_asked_again(evidence),
            *_total(snapshot, charged, sum(account.executed for account in accounts.values())),
            *_server(accounts, counted),
        ),
        trials=trials,
    )


def _reported(snapshot: Snapshot) -> dict[str, int]:
    """The most queries that each trial claims, in its row or in a report."""
    claims: dict[str, int] = {}
    for table in (snapshot.trials, snapshot.reports):
        grouped = table.group_by("uid").aggregate([("queries", "max")])
        for uid, queries in zip(grouped["uid"].to_pylist(), grouped["queries_max"].to_pylist(), strict=True):
            claims[uid] = max(claims.get(uid, 0), queries)
    return claims


def _trial(uid: str, status: str, account: Account, reported: int) -> TrialAudit:
    lost = status in (TrialStatus.STOPPED, TrialStatus.FAILED, TrialStatus.INTERRUPTED)
    return TrialAudit(
        uid=uid,
        status=status,
        charged=account.charged,
        executed=account.executed,
        orphaned=max(0, account.charged - reported) if lost else 0,
        budget=account.budget,
        reported=reported,
    )


def _mismatches(trial: TrialAudit) -> list[str]:
    found = []
    if trial.reported > trial.charged:
        found.append(f"{trial.uid} reports {trial.reported} queries, but was charged only {trial.charged}")
    elif trial.status == TrialStatus.FINISHED and trial.reported != trial.charged:
        found.append(f"{trial.uid} finished with {trial.reported} queries, but was charged {trial.charged}")
    if trial.charged > trial.budget:
        found.append(f"{trial.uid} was charged {trial.charged} queries, over its budget of {trial.budget}")
    return found


def _requests(uid: str, totals: Sequence[int], evidence: Evidence) -> list[str]:
    """Where the trial's requests, one after the other, part with its reports or its checkpoint."""
    charged = evidence.requests.get(uid, {})
    missing = next((sequence for sequence in range(len(charged)) if sequence not in charged), None)
    if missing is not None:
        return [f"{uid}: request {missing} is not in the ledger, though later ones are"]
    spent = [0, *accumulate(charged[sequence] for sequence in range(len(charged)))]
    found = []
    for queries in totals:
        if charged and queries not in spent:
            sequence = sum(total < queries for total in spent) - 1
            found.append(
                f"{uid} reports {queries} queries, which is no sum of its requests: {spent[sequence]} were"
                f" charged before request {sequence}"
                + (f", {spent[sequence + 1]} with it" if sequence < len(charged) else ", which never came")
            )
            break
    if uid in evidence.checkpoints:
        requests, queries = evidence.checkpoints[uid]
        known = spent[requests] if requests < len(spent) else None
        if known != queries:
            told = "does not have so many" if known is None else f"has {known} queries there"
            found.append(
                f"{uid}: its checkpoint says {queries} queries before request {requests}, the ledger {told}"
            )
    return found


def _totals(snapshot: Snapshot) -> dict[str, list[int]]:
    """The different numbers of queries that each trial's reports tell, rising."""
    rows = snapshot.reports.group_by(["uid", "queries"]).aggregate([]).sort_by("queries")
    totals: dict[str, list[int]] = {}
    for uid, queries in zip(rows["uid"].to_pylist(), rows["queries"].to_pylist(), strict=True):
        totals.setdefault(uid, []).append(queries)
    return totals


def _asked_again(evidence: Evidence) -> list[str]:
    return [
        f"{uid}: request {again[0]} was sent again though its answer was recorded"
        for uid, again in sorted(evidence.asked_again.items())
    ]


def _server(accounts: Mapping[str, Account], counted: Counted | None) -> list[str]:
    """Each charge was executed; what was sent and never answered may have been."""
    found = [
        f"{uid} was charged {account.charged} queries, but only {account.executed} were sent"
        for uid, account in sorted(accounts.items())
        if account.executed < account.charged
    ]
    executed = sum(account.executed for account in accounts.values())
    if counted is not None and not counted.charged <= counted.images <= executed:
        found.append(
            f"the teacher's server counted {counted.images} images, the ledger {counted.charged} answered"
            f" and {executed} sent"
        )
    return found


def _foreign(evidence: Evidence, statuses: Mapping[str, str]) -> list[str]:
    return [
        f"the ledger charges {evidence.accounts[uid].charged} queries to {uid}, which is no trial of this run"
        for uid in sorted(evidence.settled - {*statuses, EVALUATION})
    ]


def _total(snapshot: Snapshot, charged: int, executed: int) -> list[str]:
    """The manifest's total (exact once the run has ended, else of an earlier end) and the caps."""
    found = []
    manifest = snapshot.manifest
    cap = manifest.caps.get("queries")
    if manifest.state.settled and manifest.charged != charged:
        found.append(f"run.json says {manifest.charged} queries in total, the ledger {charged}")
    elif manifest.charged > charged:
        found.append(f"run.json says {manifest.charged} queries or more in total, the ledger {charged}")
    if cap is not None and charged > cap:
        found.append(f"the run was charged {charged} queries, over its cap of {int(cap)}")
    cost = manifest.caps.get("cost")
    if cost is not None and Decimal(str(manifest.price)) * executed > Decimal(str(cost)):
        found.append(f"{executed} images at {manifest.price:g} USD were sent, over the cap of {cost:g} USD")
    return found
