"""How many teacher queries to buy."""

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboard import frame
from dashboard.elements import chart, table
from dashboard.frame import View
from dashboard.snapshot import cached, cached_all
from raysys.figures.budget import budget_alt, budget_figure, gain_figure
from raysys.figures.looks import text
from raysys.store.budgets import (
    Curve,
    attainment_table,
    budget_table,
    budgets,
    compared_fronts,
    curves,
    needed_table,
    unit,
)
from raysys.store.comparison import EVIDENCE
from raysys.store.points import Kind
from raysys.store.reader import Snapshot

_COUNT = st.column_config.NumberColumn(format="localized")
_SHARE = st.column_config.NumberColumn(format="percent")
_USD = st.column_config.NumberColumn("USD", format="%.2f")


def main() -> None:
    """Draw the page."""
    view = frame.head("Budget", "How many teacher queries to buy.")
    runs, refused = cached_all(compared_fronts, view.runs)
    if refused:
        st.warning("Runs that cannot be compared with this one are left out.")
        st.code("\n".join(refused), language=None, wrap_lines=True)
    found = cached_all(budget_curves, runs, view.kind)
    if not budgets(found):
        st.info(
            "There is no student with a score yet, so no budget buys anything known. "
            "While trials run, choose 'all reports' in the sidebar."
        )
        return
    alt = cached_all(budget_words, runs, view.kind)
    chart(
        cached_all(budget_chart, runs, view.kind, view.limits.queries, view.limits.score), "budget-chart", alt
    )
    _seeds(found)
    _needed(view, runs)
    _tables(view, runs, found)


def budget_curves(runs: tuple[Snapshot, ...], kind: Kind) -> list[Curve]:
    """What is attained, worked out once for all of the page."""
    return curves(runs, kind)


def budget_chart(
    runs: tuple[Snapshot, ...], kind: Kind, max_queries: float | None, min_score: float | None
) -> go.Figure:
    """The chart of what is attained."""
    return budget_figure(cached_all(budget_curves, runs, kind), max_queries, min_score)


def budget_words(runs: tuple[Snapshot, ...], kind: Kind) -> str:
    """The chart in words."""
    return budget_alt(cached_all(budget_curves, runs, kind))


def budget_gains(runs: tuple[Snapshot, ...], kind: Kind) -> go.Figure:
    """The chart of gains."""
    return gain_figure(cached_all(budget_curves, runs, kind))


def budget_rows(runs: tuple[Snapshot, ...], kind: Kind) -> tuple[pa.Table, pa.Table]:
    """What each run buys at round budgets, and what searches attain there."""
    found = cached_all(budget_curves, runs, kind)
    return budget_table(found, kind), attainment_table(found)


def _seeds(found: list[Curve]) -> None:
    """Of how many seeds each curve is, and why there is no band."""
    medians = [one for one in found if one.banded]
    if medians:
        st.caption(
            "The line is what at least half of the seeds attain; the band is between what 75 % and 25 % of "
            "them do, which of 3 seeds are the worst and the best."
        )
    for one in medians:
        st.text(f"{one.name}: {len(one.runs)} seeds ({', '.join(run.name for run in one.runs)})")
    if len(medians) < len(found):
        st.caption(
            f"A line of one run has no band: it takes at least {EVIDENCE} runs of one search with different "
            "seeds. Choose them under 'Compare with'."
        )


def charged(run: Snapshot) -> int:
    """What the whole search has spent."""
    return run.charged


def _marked(rows: pa.Table, column: str, limit: float | None) -> pa.Table:
    """The rows, and which of them lie beyond the limit on queries."""
    if limit is None:
        return rows
    marks = pc.if_else(pc.greater(rows[column], limit), "beyond", "within")
    return rows.add_column(rows.column_names.index(column) + 1, "max queries", marks)


def _needed(view: View, runs: tuple[Snapshot, ...]) -> None:
    words, kind = text(view.run.manifest.score), view.kind
    st.subheader("How many queries for a score", anchor=False)
    wanted = st.number_input(
        f"Wanted {words} (%)", min_value=0.0, max_value=100.0, value=90.0, step=1.0, key="wanted",
        bind="query-params", format="%g", width=220,
    )  # fmt: skip
    found = cached_all(budget_curves, runs, kind)
    rows = needed_table(found, float(wanted) / 100)
    table(
        _marked(rows, "queries", view.limits.queries),
        "needed-table",
        f"The cheapest budget that attains {wanted:g} % {words}, for {rows.num_rows} searches or runs.",
        column_config={
            "attained": st.column_config.NumberColumn(
                "attained by", help="so many of the seeds, at any budget"
            ),
            "queries": st.column_config.NumberColumn("queries needed ↓", format="localized"),
            "cost": _USD,
        },
    )
    st.caption(
        "These are the queries of one trial, once its config is known; the search that found it has asked "
        "for all of its trials. Of several seeds, what at least half of them need. Empty: it is not attained."
    )
    for run in runs:
        trials = run.trials.num_rows
        st.text(
            f"{run.name}: the whole search has spent {cached(charged, run):,} queries on {trials:,} "
            f"trial{'' if trials == 1 else 's'}"
        )


def _tables(view: View, runs: tuple[Snapshot, ...], found: list[Curve]) -> None:
    kind, limit = view.kind, view.limits.queries
    each, over = cached_all(budget_rows, runs, kind)
    more = st.column_config.NumberColumn(
        f"points per {unit(budgets(found)):,} more",
        format="%.2f",
        help="percentage points that so many more queries buy, up to the next better student in the table; "
        "empty: none is known",
    )
    st.subheader("What the next queries buy", anchor=False)
    chart(cached_all(budget_gains, runs, kind), "gain-chart", cached_all(budget_words, runs, kind))
    st.caption(
        "Each step goes from the queries of the best student within a round budget to those of the next "
        "better one. Between round budgets of the same student lies no trial, or no better one."
    )
    if over.num_rows:
        st.subheader("Over seeds", anchor=False)
        table(
            _marked(over, "budget", limit),
            "attainment-table",
            f"Median attained and its band at round budgets, {over.num_rows} rows.",
            column_config={
                "budget": _COUNT,
                "attained": st.column_config.NumberColumn("with a student", help="so many of the seeds"),
                "lower": st.column_config.NumberColumn("75 % attain", format="percent"),
                "median": st.column_config.NumberColumn("50 % attain", format="percent"),
                "upper": st.column_config.NumberColumn("25 % attain", format="percent"),
                "gain": more,
            },
        )
    st.subheader("The best student within round budgets", anchor=False)
    event = table(
        _marked(each, "budget", limit),
        "budget-table",
        f"The best student of each run within round budgets, {each.num_rows} rows.",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "budget": _COUNT,
            "score": _SHARE,
            "score_std": st.column_config.NumberColumn("± std", format="percent"),
            "queries": st.column_config.NumberColumn("queries used", format="localized"),
            "cost": _USD,
            "gain": more,
        },
    )
    st.caption(
        "Pick a row of the run in the sidebar to open its trial. Without a uid: the run has no student so "
        "cheap. ± std is over the seeds of the student."
    )
    for row in event["selection"]["rows"]:
        picked = each.slice(row, 1).to_pylist()[0]
        if picked["uid"] is not None and picked["run"] == view.run.name:
            st.switch_page("views/trial.py", query_params={"trial": picked["uid"]})


main()
