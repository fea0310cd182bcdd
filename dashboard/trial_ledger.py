"""What a trial was charged, request by request, as the Trial page shows it."""

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboard.elements import table
from dashboard.frame import View
from dashboard.snapshot import cached
from raysys.records import Scalar, TrialRecord, TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.reader import Snapshot
from raysys.teacher.accounts import MOST_BYTES
from raysys.teacher.charges import charges_table, ledger_size


def trial_ledger(view: View, record: TrialRecord) -> None:
    """What it was charged, request by request, and whether that is what it says."""
    size = ledger_size(view.layout.ledger, view.layout.filesystem)
    if not size:
        st.info("The run has no ledger yet: nothing was asked.")
        return
    if size > MOST_BYTES and not st.toggle(
        f"Read the ledger ({size / 1e6:,.0f} MB)", key="trial-read-ledger"
    ):
        return
    rows = cached(trial_charges, view.run, view.layout, record.uid, record.config.options.get("query_budget"))
    _reconcile(record, pc.sum(rows["charged"], min_count=0).as_py())
    if not rows.num_rows:
        return
    table(
        rows,
        "ledger-table",
        f"The {rows.num_rows:,} requests of trial {record.uid}, one a row, in the order of asking.",
        column_config={
            "time": st.column_config.DatetimeColumn("sent at (UTC)", format="YYYY-MM-DD HH:mm:ss"),
            "seconds": st.column_config.NumberColumn(format="%.3f", help="until the answer was recorded"),
            "sent": st.column_config.NumberColumn(
                help="images in all attempts: what the teacher may have seen"
            ),
            "charged": st.column_config.NumberColumn(help="queries: images whose answers were recorded"),
            "remaining": st.column_config.NumberColumn(help="of the query budget, afterwards"),
        },
    )


def trial_charges(run: Snapshot, layout: RunLayout, uid: str, budget: Scalar | None) -> pa.Table:
    """The requests of a trial, with running totals; with a `budget` also what remained of it."""
    rows = cached(_all_charges, run, layout)
    rows = rows.filter(pc.equal(rows["uid"], uid)).sort_by("sequence")
    total = pc.cumulative_sum(rows["charged"])
    waited = pc.microseconds_between(rows["sent_at"], rows["answered_at"]).cast(pa.float64())
    columns = {
        "time": rows["sent_at"],
        "sequence": rows["sequence"],
        "images": rows["images"],
        "sent": rows["sent"],
        "charged": rows["charged"],
        "cumulative": total,
    }
    if isinstance(budget, int):
        columns["remaining"] = pc.subtract(budget, total)
    columns["seconds"] = pc.divide(waited, 1e6)
    columns["outcome"] = _outcomes(rows)
    columns["request"] = pc.utf8_slice_codeunits(rows["request_id"], 0, 12)
    return pa.table(columns)


def _all_charges(run: Snapshot, layout: RunLayout) -> pa.Table:
    """The run's ledger."""
    del run  # the key
    return charges_table(layout.ledger, layout.filesystem)


def _outcomes(rows: pa.Table) -> pa.Array:
    """What came of each request."""
    answered, attempts = rows["answered_at"].is_valid(), rows["attempts"]
    return pc.case_when(
        pc.make_struct(pc.invert(answered), pc.greater(attempts, 1)), "no answer", "retried", "answered"
    )


def _reconcile(record: TrialRecord, charged: int) -> None:
    """Say whether the ledger and the trial agree."""
    both = f"the ledger charged {charged:,} queries, the trial reports {record.queries:,}"
    if charged == record.queries:
        st.success(f"Reconciled: {both}.")
    elif charged > record.queries and record.status is not TrialStatus.FINISHED:
        st.info(f"Not finished: {both}. What was asked after its last report is charged, too.")
    else:
        st.error(f"Does not agree: {both}. `raysys audit` tells more.")
