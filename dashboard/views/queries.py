"""Where the budget went, and what of it was wasted."""

import shlex
from dataclasses import asdict, dataclass
from typing import get_args
from urllib.parse import urlsplit

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import streamlit as st

from dashboard import frame
from dashboard.elements import chart, table
from dashboard.snapshot import cached, has_news
from raysys.cluster.ledger_evidence import audit_ledger
from raysys.errors import RaysysError
from raysys.figures import queries as figures
from raysys.records import Account
from raysys.store.audit import AuditResult
from raysys.store.layout import RunLayout
from raysys.store.reader import Snapshot
from raysys.store.spending import saved, spending, trial_spending, wasted
from raysys.teacher.accounts import MOST_BYTES
from raysys.teacher.charges import Answers, answers, ledger_size, read_charges

_MOST_TOLD = 10
_SHARE = st.column_config.NumberColumn(format="percent")
_COUNT = st.column_config.NumberColumn(format="localized")
_COUNTS = dict.fromkeys(("trials", "charged", "executed", "orphaned", "budget", "reported", "sent"), _COUNT)


@dataclass(frozen=True)
class _Book:
    """What the page shows of a ledger."""

    accounts: dict[str, Account]
    audit: AuditResult
    trials: pa.Table
    counted: int | None
    requests: int
    answers: Answers
    rate: go.Figure
    rate_alt: str


@dataclass(frozen=True)
class _Spent:
    """Where the queries went; without a ledger, by the tables."""

    trials: pa.Table
    uses: pa.Table
    figure: go.Figure
    alt: str
    wasted: int
    saved: int | None


def main() -> None:
    """Draw the page."""
    view = frame.head("Queries", "Where the budget went, and what of it was wasted.")
    run, layout = view.run, view.layout
    book = _ledger(run, layout)
    spent = cached(_spent, run, layout, book is not None)
    _metrics(run, spent, book)
    if spent.uses.num_rows:
        chart(spent.figure, "spending-chart", spent.alt)
        table(
            spent.uses if run.manifest.price else spent.uses.drop_columns("usd"),
            "spending",
            f"What {spent.uses.num_rows} uses got, and what share of all queries charged.",
            column_config={
                **_COUNTS,
                "share": _SHARE,
                "usd": st.column_config.NumberColumn("USD", format="%.2f"),
            },
        )
    else:
        st.info("Nothing was asked yet: there is no trial, and no image was sent. Refresh when there is one.")
    if book is not None:
        _reconciliation(run, layout, book)
        _over_time(book)
    if spent.trials.num_rows:
        _spread(run, layout, book is not None)
    _teachers(view.runs, book)


def _ledger(run: Snapshot, layout: RunLayout) -> _Book | None:
    """The ledger, if there is one that can be read, and is small or asked for."""
    try:
        size = cached(_size, run, layout)
        asked: set[str] = st.session_state.setdefault("ledgers", set())
        if not size:
            st.info(
                "This run has no ledger yet: the numbers are by its trials' rows and reports. A run writes"
                " ledger/ with its first request; if it has asked already, restore the folder from a backup."
            )
            return None
        if size > MOST_BYTES and run.path not in asked:
            st.info(f"The ledger has {size / 1e6:,.0f} MB and is not read yet: numbers are by the tables.")
            if not st.button("Read the ledger", key="read-ledger"):
                return None
            asked.add(run.path)
        with st.spinner("Reading the ledger"):
            return cached(_book, run, layout)
    except RaysysError as failure:
        st.error("The ledger cannot be read: the numbers are by the run's tables.")
        st.code(str(failure), language=None)
        return None


def _size(run: Snapshot, layout: RunLayout) -> int:
    return ledger_size(layout.ledger, layout.filesystem)


def _book(run: Snapshot, layout: RunLayout) -> _Book:
    charges = read_charges(layout.ledger, layout.filesystem)
    audit = audit_ledger(run, charges.ledger)
    return _Book(
        accounts=charges.ledger.accounts(),
        audit=audit,
        trials=pa.Table.from_pylist([asdict(trial) for trial in audit.trials]),
        counted=charges.counted,
        requests=charges.table.num_rows,
        answers=answers(charges.table),
        rate=figures.rate_figure(charges.table),
        rate_alt=figures.rate_alt(charges.table),
    )


def _spent(run: Snapshot, layout: RunLayout, by_ledger: bool) -> _Spent:
    accounts = cached(_book, run, layout).accounts if by_ledger else None
    uses, trials = spending(run, accounts), trial_spending(run, accounts)
    figure, alt = figures.spending_figure(uses), figures.spending_alt(uses)
    return _Spent(trials, uses, figure, alt, wasted(uses), saved(trials))


def _spread_chart(
    run: Snapshot, layout: RunLayout, by_ledger: bool, what: figures.Spread
) -> tuple[go.Figure, str]:
    trials = cached(_spent, run, layout, by_ledger).trials
    return figures.spread_figure(trials, what), figures.spread_alt(trials, what)


def _metrics(run: Snapshot, spent: _Spent, book: _Book | None) -> None:
    rows = spent.uses.to_pylist()
    charged = sum(row["charged"] for row in rows)
    share = f" ({spent.wasted / charged:.1%})" if charged else ""
    told = {"Charged": f"{charged:,}"}
    if book is not None:
        again = book.audit.executed - charged
        told["Executed"] = f"{book.audit.executed:,}" + (f" (+{again:,})" if again else "")
        told["Orphaned"] = f"{book.audit.orphaned:,}"
    told["On stopped and failed trials"] = f"{spent.wasted:,}{share}"
    told["Saved by early stopping"] = "not known" if spent.saved is None else f"{spent.saved:,}"
    if price := run.manifest.price:
        told["Cost"] = f"USD {sum(row['usd'] for row in rows):,.2f}"
    with st.container(horizontal=True, gap="medium"):
        for label, value in told.items():
            st.metric(label, value, width="content")
    st.caption(
        "All counts are images. Charged: unique queries. Executed: sent in all attempts, which the teacher's"
        " owner may bill. Orphaned: charged, the answer never used. A repeat that the ledger answered costs"
        " nothing and leaves no record." + (f" Prices: USD {price:g} an image sent." if price else "")
    )


def _reconciliation(run: Snapshot, layout: RunLayout, book: _Book) -> None:
    """The audit, in the words of the command."""
    st.subheader("Do ledger and tables agree?", anchor=False)
    audit = book.audit
    if audit.mismatches:
        st.error(f"The audit found {len(audit.mismatches):,} mismatch(es).")
        more = len(audit.mismatches) - _MOST_TOLD
        st.code(
            "\n".join([*audit.mismatches[:_MOST_TOLD], *([f"and {more:,} more"] if more > 0 else [])]),
            language=None,
        )
        if has_news(layout):
            st.caption("The run was written to since: refresh before you conclude anything.")
    else:
        st.success("every charge is accounted for")
    st.text(
        f"{audit.charged:,} queries charged ({audit.evaluation:,} of them for evaluation), "
        f"{audit.executed:,} executed, {audit.orphaned:,} orphaned"
    )
    st.caption("The command compares saved states and the count of the teacher's own server, too:")
    st.code(f"raysys audit {shlex.quote(run.path)}", language=None)
    if book.trials.num_rows and st.toggle("Show each trial", key="audit-trials", bind="query-params"):
        alt = f"Charged, executed, orphaned, budget and reported queries of {book.trials.num_rows:,} trials."
        table(book.trials, "audit", alt, column_config=_COUNTS)


def _over_time(book: _Book) -> None:
    """When and how fast the teacher answered."""
    st.subheader("Requests over time", anchor=False)
    found, seconds = book.answers, book.answers.seconds
    told = {"Requests": f"{book.requests:,}", "Without an answer": f"{found.unanswered.num_rows:,}"}
    told["Images sent again"] = f"{found.again:,}"
    if len(seconds):
        for name, at in (("median", 0.5), ("95th percentile", 0.95)):
            told[f"Answered within, {name}"] = _duration(float(np.quantile(seconds, at)))
    with st.container(horizontal=True, gap="medium"):
        for label, value in told.items():
            st.metric(label, value, width="content")
    if not book.requests:
        return
    chart(book.rate, "rate-chart", book.rate_alt)
    if found.unanswered.num_rows:
        alt = f"{found.unanswered.num_rows:,} requests that were sent and got no answer, by time of sending."
        columns = ["uid", "sequence", "sent", "attempts", "sent_at"]
        table(found.unanswered.select(columns), "unanswered", alt, column_config=_COUNTS)


def _spread(run: Snapshot, layout: RunLayout, by_ledger: bool) -> None:
    """How evenly the queries are spread over the trials."""
    st.subheader("Per trial", anchor=False)
    kinds = get_args(figures.Spread)
    what = st.segmented_control(
        "Of each trial", kinds, default=kinds[0], key="spread", bind="query-params", required=True
    )
    figure, alt = cached(_spread_chart, run, layout, by_ledger, what or kinds[0])
    if figure.data:
        chart(figure, "spread-chart", alt)
    else:
        st.info("No trial's budget is known: no trial has asked yet, or its config does not say.")


def _teachers(runs: tuple[Snapshot, ...], book: _Book | None) -> None:
    """Who answered: the first run's counts by its ledger, if it was read; others' by their tables."""
    st.subheader("Teachers", anchor=False)
    rows = []
    for run in runs:
        card, manifest = run.manifest.teacher, run.manifest
        own = book if run is runs[0] else None
        rows.append(
            {
                "run": run.name,
                "teacher": card.id if card else "",
                "where": _where(run),
                "sha256": card.sha256[:12] if card else "",
                "response": manifest.response,
                "charged": own.audit.charged if own else run.charged,
                "executed": own.audit.executed if own else manifest.executed or None,
                "counted": own.counted if own else None,
            }
        )
    alt = f"Teachers of {len(rows)} runs, and how many images each was charged for and sent."
    table(pa.Table.from_pylist(rows), "teachers", alt, column_config={**_COUNTS, "counted": _COUNT})
    st.caption("Counted: what the teacher's own server told last, where it has a counter.")


def _where(run: Snapshot) -> str:
    """The address of a teacher behind HTTP, without user and query; else its architecture."""
    http = run.manifest.space.get("teacher", {}).get("http")
    if http:
        url = urlsplit(http["url"])
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    return run.manifest.teacher.architecture if run.manifest.teacher else ""


def _duration(seconds: float) -> str:
    if seconds < 0.001:
        return "under 1 ms"
    return f"{1000 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


main()
