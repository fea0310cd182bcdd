"""Where a run's queries went, and what of it was wasted."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from raysys.records import EVALUATION, Account, TrialStatus
from raysys.store.points import floats, member_uids, run_front
from raysys.store.reader import Snapshot
from raysys.store.schema import PARAMETER

ON_FRONT, OFF_FRONT = "finished, on the front", "finished, off the front"
UNREPORTED, ELSEWHERE = "evaluation and not reported", "not in the tables"

USES = (
    ON_FRONT,
    OFF_FRONT,
    TrialStatus.STOPPED.value,
    TrialStatus.FAILED.value,
    TrialStatus.INTERRUPTED.value,
    TrialStatus.RUNNING.value,
    TrialStatus.PENDING.value,
    EVALUATION,
    UNREPORTED,
    ELSEWHERE,
)
"""What queries may go to. `evaluation` has the teacher's answers on val and test."""

WASTED = (TrialStatus.STOPPED.value, TrialStatus.FAILED.value)
"""Uses that bought no student."""

_BUDGET = PARAMETER + "query_budget"
_TRIALS = pa.schema(
    [("uid", pa.string()), ("use", pa.string())]
    + [(name, pa.int64()) for name in ("charged", "executed", "budget")]
)
_SUMS = pa.schema([("use", pa.string())] + [(name, pa.int64()) for name in ("trials", "charged", "executed")])
_USES = pa.schema(
    [
        ("use", pa.string()),
        ("trials", pa.int64()),
        ("charged", pa.int64()),
        ("share", pa.float64()),
        ("executed", pa.int64()),
        ("usd", pa.float64()),
    ]
)


def trial_spending(snapshot: Snapshot, accounts: Mapping[str, Account] | None = None) -> pa.Table:
    """One row a trial: uid, use (of `USES`), charged, executed and budget (images).

    `charged` is by the ledger's `accounts`; without them, the most that row and reports tell, and nothing is
    known of what was executed. Null: not known.
    """
    trials = snapshot.trials
    uids = trials["uid"].to_pylist()
    if accounts is None:
        reported = _reported(snapshot)
        books = [Account(uid, reported[uid], 0, 0) for uid in uids]
    else:
        books = [accounts.get(uid, Account(uid, 0, 0, 0)) for uid in uids]
    on_front = {uid for point in member_uids(snapshot, run_front(snapshot)) for uid in point}
    planned = floats(trials, _BUDGET) if _BUDGET in trials.column_names else np.full(len(uids), np.nan)
    budgets = np.where(np.isnan(planned), [float(book.budget) for book in books], planned)
    return pa.table(
        {
            "uid": uids,
            "use": [
                state if state != TrialStatus.FINISHED else ON_FRONT if uid in on_front else OFF_FRONT
                for uid, state in zip(uids, trials["status"].to_pylist(), strict=True)
            ],
            "charged": [book.charged for book in books],
            "executed": [None if accounts is None else book.executed for book in books],
            "budget": pa.array(budgets, mask=budgets == 0).cast(pa.int64()),
        },
        _TRIALS,
    )


def spending(snapshot: Snapshot, accounts: Mapping[str, Account] | None = None) -> pa.Table:
    """One row a use with trials or queries: use, trials, charged, share (of all charged), executed, usd.

    `accounts` as in `trial_spending`. `usd` is what the teacher's owner may bill, for every image that was
    sent as far as that is known; null without a price.
    """
    trials = trial_spending(snapshot, accounts)
    if accounts is None:
        rest = snapshot.charged - sum(trials["charged"].to_pylist())
        reported = {TrialStatus.FINISHED.value, TrialStatus.STOPPED.value}
        all_told = not snapshot.skipped and set(snapshot.trials["status"].unique().to_pylist()) <= reported
        use = EVALUATION if all_told else UNREPORTED
        others = [{"use": use, "trials": 0, "charged": rest}] if rest else []
    else:
        others = [
            {
                "use": EVALUATION if uid == EVALUATION else ELSEWHERE,
                "trials": int(uid != EVALUATION),
                "charged": accounts[uid].charged,
                "executed": accounts[uid].executed,
            }
            for uid in sorted(accounts.keys() - set(trials["uid"].to_pylist()))
        ]
    each = trials.append_column("trials", pa.repeat(pa.scalar(1), trials.num_rows))
    rows = pa.concat_tables([each.select(_SUMS.names), pa.Table.from_pylist(others, _SUMS)])
    sums = rows.group_by("use").aggregate([(name, "sum") for name in _SUMS.names[1:]]).to_pylist()
    total, price = sum(row["charged_sum"] for row in sums), snapshot.manifest.price
    return pa.Table.from_pylist(
        [
            {
                "use": row["use"],
                "trials": row["trials_sum"],
                "charged": row["charged_sum"],
                "share": row["charged_sum"] / total if total else 0.0,
                "executed": row["executed_sum"],
                "usd": price * (row["charged_sum"] if accounts is None else row["executed_sum"])
                if price
                else None,
            }
            for row in sorted(sums, key=lambda row: USES.index(row["use"]))
        ],
        _USES,
    )


def wasted(spent: pa.Table) -> int:
    """Queries of trials that were stopped or failed, of a table of `spending`."""
    return sum(row["charged"] for row in spent.to_pylist() if row["use"] in WASTED)


def saved(trials: pa.Table) -> int | None:
    """What early stopping saved: the budgets of stopped trials less their queries, of `trial_spending`.

    None where a budget is not known.
    """
    stopped = [row for row in trials.to_pylist() if row["use"] == TrialStatus.STOPPED]
    if any(row["budget"] is None for row in stopped):
        return None
    return int(sum(row["budget"] - row["charged"] for row in stopped))


def _reported(snapshot: Snapshot) -> dict[str, int]:
    """The most queries that each trial claims, in its row or in a report."""
    told = pa.concat_tables([one.select(["uid", "queries"]) for one in (snapshot.trials, snapshot.reports)])
    most = told.group_by("uid").aggregate([("queries", "max")])
    return dict(zip(most["uid"].to_pylist(), most["queries_max"].to_pylist(), strict=True))
