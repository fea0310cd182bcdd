"""Stop now or go on; whether early stopping is too hard."""

from collections.abc import Mapping

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboard import frame
from dashboard.elements import chart, table
from dashboard.snapshot import cached, cached_all
from raysys.errors import RaysysError
from raysys.figures.convergence import OVER, growth_alt, growth_figure, spread_alt, spread_figure
from raysys.figures.rungs import rungs_alt, rungs_figure
from raysys.figures.timeline import MOST_SPANS, timeline_alt, timeline_figure
from raysys.fronts.hypervolume import Reference
from raysys.records import TrialStatus
from raysys.store.convergence import Progress, progress, rungs
from raysys.store.layout import RunLayout
from raysys.store.manifest import NO_SCHEDULER
from raysys.store.reader import Snapshot
from raysys.teacher.charges import ledger_size
from raysys.teacher.spans import ledger_spans

# Its spans alone are read faster than its accounts: this much in half a second.
_MOST_LEDGER = 32_000_000

_RECENT = 0.1


def main() -> None:
    """Draw the page."""
    view = frame.head("Convergence", "Stop now or go on; whether early stopping is too hard.")
    if not any(count for status, count in view.run.counts().items() if status.ended):
        st.info("No trial has ended yet, so there is no front that could grow. Refresh when one has.")
        return
    _growth(view)
    _spread(view)
    _timeline(view)
    _stopping(view.run)


def _growth(view: frame.View) -> None:
    st.subheader("What the front gained", anchor=False)
    own = view.run.manifest.reference
    over, reference = _controls(view.run)
    lines = _lines(view, over, None if reference == own else reference)
    score = view.run.manifest.score.replace("_", " ")
    st.caption(
        f"Final front, measured from the reference point {reference.accuracy:.1%} {score} at"
        f" {reference.queries:,} queries (log10); 1 would be a perfect student for one query. A further"
        " seed of a config moves its mean, so that the front may fall. Queries of evaluation are not counted."
    )
    if reference != own:
        st.warning(
            f"The reference point was changed, for all runs shown: not comparable with `raysys front`, which"
            f" measures this run from {own.accuracy:.1%} at {own.queries:,} queries."
        )
    for column, what in zip(st.columns(2), ("hypervolume", "front"), strict=True):
        with column:
            shown = tuple(run for run in view.runs if run.name in lines)
            figure, alt = cached_all(front_growth, shown, over, None if reference == own else reference, what)
            chart(figure, f"growth-{what}-chart", alt)
    table(
        _summary(lines, view.run.manifest.price > 0),
        "convergence-table",
        f"what {len(lines)} runs reached, and what for",
        column_config={
            "hypervolume": st.column_config.NumberColumn(format="%.4f"),
            "gain over last 10% of queries": st.column_config.NumberColumn(format="%+.4f"),
            "queries": st.column_config.NumberColumn(format="localized"),
            "hours": st.column_config.NumberColumn(format="%.2f"),
            "USD": st.column_config.NumberColumn(format="dollar"),
        },
    )


def front_growth(
    runs: tuple[Snapshot, ...], over: str, reference: Reference | None, what: str
) -> tuple[go.Figure, str]:
    """How the fronts grew, and what the chart shows in words."""
    lines = {run.name: cached(progress, run, reference) for run in runs}
    return growth_figure(lines, over, what), growth_alt(lines, over, what)


def _controls(run: Snapshot) -> tuple[str, Reference]:
    """What the front is drawn over, and the reference point that it is measured from."""
    own = run.manifest.reference
    line = st.columns([4, 2, 2], vertical_alignment="bottom")
    over = line[0].segmented_control(
        "Over",
        [name for name in OVER if name != "USD" or run.manifest.price],
        default="trials",
        key="over",
        bind="query-params",
        required=True,
    )
    score = line[1].number_input(
        "Reference score (%)", min_value=0.0, max_value=99.9, value=None, key="reference-score",
        placeholder=f"{100 * own.accuracy:g}", bind="query-params", format="%g",
        help="Chance; empty: the run's own.",
    )  # fmt: skip
    queries = line[2].number_input(
        "Reference queries", min_value=2, value=None, step=100, placeholder=f"{own.queries:,}",
        key="reference-queries", bind="query-params", help="The largest budget; empty: the run's own.",
    )  # fmt: skip
    reference = Reference(own.accuracy if score is None else score / 100, queries or own.queries)
    return over or "trials", reference


def _lines(view: frame.View, over: str, reference: Reference | None) -> dict[str, Progress]:
    """The runs that can be drawn together; others are named, with the reason."""
    lines, mine = {}, view.run.manifest.goal
    for run in view.runs:
        goal = run.manifest.goal
        if reference is None and goal.reference != mine.reference:
            why = (
                f"its reference point is {goal.reference.accuracy:.1%} at {goal.reference.queries:,} queries"
            )
        elif goal.limits != mine.limits:
            why = f"its limits are {dict(goal.limits) or 'none'}"
        elif over == "USD" and not run.manifest.price:
            why = "its space has no price"
        else:
            line = cached(progress, run, reference)
            if line.ended:
                lines[run.name] = line
                continue
            why = "no trial has ended"
        st.text(f"{run.name} is left out: {why}")
    return lines


def _summary(lines: Mapping[str, Progress], priced: bool) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "run": name,
                "hypervolume": line.hypervolume[-1],
                "gain over last 10% of queries": line.gained(_RECENT),
                "last gain at trial": line.last_gain,
                "ended": line.ended,
                "front": int(line.front[-1]),
                "queries": int(line.queries[-1]),
                "hours": line.hours[-1],
                **({"USD": line.cost[-1]} if priced else {}),
            }
            for name, line in lines.items()
        ]
    )


def _spread(view: frame.View) -> None:
    st.subheader("How finished trials spread", anchor=False)
    if not view.run.counts()[TrialStatus.FINISHED]:
        st.info("No trial has finished yet.")
        return
    names = view.run.manifest.goal.names
    st.caption(
        "The share of finished trials that reached at most so much (EDF), each seed a trial of its own."
        " Values that are not finite are left out."
    )
    for name, column in zip(names, st.columns(len(names)), strict=True):
        with column:
            chart(
                cached_all(spread_figure, view.runs, name),
                f"spread-{name}-chart",
                cached_all(spread_alt, view.runs, name),
            )


def _timeline(view: frame.View) -> None:
    st.subheader("When trials worked", anchor=False)
    try:
        figure, alt, known = cached(ledger_timeline, view.run, view.layout)
    except RaysysError as failure:
        st.warning("The ledger cannot be read.")
        st.code(str(failure), language=None)
        figure, alt, known = timeline_figure(view.run, None), timeline_alt(view.run, None), 0
    if known:
        st.caption(
            "From the opening of a trial's account at the teacher to its closing, as the ledger has it: the"
            f" latest {min(MOST_SPANS, known):,} of {known:,}. Lanes are packed, they are no machines."
            " Select a bar to open its trial."
        )
    else:
        st.caption(
            "The tables do not say when trials began, and the ledger that would is missing, or larger than"
            f" {_MOST_LEDGER / 1e6:.0f} MB. So this is the work of the last {MOST_SPANS} trials that ended,"
            " laid end to end in the order of their ends: trials that ran side by side are not seen as such."
        )
    picked = chart(figure, "timeline-chart", alt, on_select="rerun", selection_mode="points", height=320)
    if picked["selection"]["points"]:
        uid = picked["selection"]["points"][0]["customdata"][0]
        st.switch_page("views/trial.py", query_params={"trial": uid})


def ledger_timeline(run: Snapshot, layout: RunLayout) -> tuple[go.Figure, str, int]:
    """The timeline, what it shows in words, and how many spans the ledger has: 0 where it was not read."""
    spans = []
    if ledger_size(layout.ledger, layout.filesystem) <= _MOST_LEDGER:
        spans = ledger_spans(layout.ledger, layout.filesystem)
    return timeline_figure(run, spans or None), timeline_alt(run, spans or None), len(spans)


def _stopping(run: Snapshot) -> None:
    st.subheader("Early stopping", anchor=False)
    found = cached(rungs, run)
    if not found.num_rows:
        st.info(
            "The scheduler is off (--scheduler none): every trial goes on to its end."
            if run.manifest.scheduler == NO_SCHEDULER
            else "No trial has reached a milestone yet: they lie between a quarter and half of its budget."
        )
        return
    stopped = int(pc.sum(found["stopped"]).as_py())
    st.caption(
        "At each milestone a trial is compared with what those before it had there. It is too hard where"
        " those that were stopped had nearly the score of those that went on."
        f" Stopped trials: {stopped:,}; queries of their budgets that were not spent: {run.unspent:,}."
    )
    chart(cached(stopping_chart, run), "rungs-chart", rungs_alt(found), height=300)
    percent = st.column_config.NumberColumn(format="percent")
    score = run.manifest.score.replace("_", " ")
    on, gone = f"median {score}, went on", f"median {score}, stopped"
    table(
        found.rename_columns(["queries", "reached", "went on", "stopped", on, gone]),
        "rungs-table",
        f"survival at {found.num_rows} milestones, with the median score at each",
        column_config={
            "queries": st.column_config.NumberColumn(format="localized"),
            on: percent,
            gone: percent,
        },
    )


def stopping_chart(run: Snapshot) -> go.Figure:
    """What early stopping did at each milestone."""
    return rungs_figure(cached(rungs, run))


main()
