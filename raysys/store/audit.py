"""The audit: do the ledger's charges and what the trials report agree, image by image?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from raysys.records import EVALUATION, Account, TrialStatus
from raysys.store.manifest import RunState
from raysys.store.reader import Snapshot


@dataclass(frozen=True)
class TrialAudit:
    """One trial. All counts are images.

    `reported` is the most that the trial's row and reports claim; `orphaned` is charged, answer never
    used: of a trial that did not finish, charged beyond what it reported (a running one may still).
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
    mismatches: tuple[str, ...]
    trials: tuple[TrialAudit, ...]

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of `raysys audit --json`."""
        data = asdict(self)
        return {**data, "mismatches": list(self.mismatches), "trials": list(data["trials"])}


def audit(snapshot: Snapshot, accounts: Mapping[str, Account]) -> AuditResult:
    """Compare the ledger's `accounts` (uid, or `evaluation` -> account) with a run's tables."""
    reported = _reported(snapshot)
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
        mismatches=(
            *(text for trial in trials for text in _mismatches(trial)),
            *_foreign(accounts, statuses),
            *_total(snapshot, charged),
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


def _foreign(accounts: Mapping[str, Account], statuses: Mapping[str, str]) -> list[str]:
    known = {*statuses, EVALUATION}
    return [
        f"the ledger charges {account.charged} queries to {uid}, which is no trial of this run"
        for uid, account in sorted(accounts.items())
        if uid not in known
    ]


def _total(snapshot: Snapshot, charged: int) -> list[str]:
    """The manifest's total (exact once the run has ended) and the run's cap against the ledger."""
    found = []
    manifest = snapshot.manifest
    cap = manifest.caps.get("queries")
    if manifest.state in (RunState.FINISHED, RunState.CAPPED) and manifest.charged != charged:
        found.append(f"run.json says {manifest.charged} queries in total, the ledger {charged}")
    if cap is not None and charged > cap:
        found.append(f"the run was charged {charged} queries, over its cap of {int(cap)}")
    return found
