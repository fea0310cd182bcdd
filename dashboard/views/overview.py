"""Is it healthy? Go on, stop, extend or fix."""

from typing import Literal

import streamlit as st

from dashboard import frame, status
from dashboard.elements import chart
from dashboard.run_table import run_table
from dashboard.snapshot import cached
from raysys.errors import RaysysError
from raysys.figures.front import front_alt, front_figure
from raysys.figures.states import states_alt, states_figure
from raysys.store.headline import headline
from raysys.store.health import Finding, Severity, faults, life, worst_first
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState
from raysys.store.reader import Snapshot
from raysys.store.seconds import seconds_by, shares

_HEIGHT, _NARROWEST = 320, 360  # of a chart, in pixels

_LOOKS: dict[Severity, tuple[str, Literal["red", "orange", "blue"]]] = {
    "fault": (":material/error:", "red"),
    "warning": (":material/warning:", "orange"),
    "note": (":material/info:", "blue"),
}


def main() -> None:
    """Draw the page."""
    view = frame.head("Overview", "Is it healthy? Go on, stop, extend or fix.")
    _metrics(view)
    _health(view)
    charts = st.grid(2, min_column_width=_NARROWEST)
    with charts.container():
        st.subheader("Front", anchor=False)
        _front(view)
    with charts.container():
        st.subheader("How trials ended", anchor=False)
        _states(view.run)
    st.subheader("Runs", anchor=False)
    run_table(view.layouts, view.run.name)


def _metrics(view: frame.View) -> None:
    run, limits = view.run, view.limits
    manifest = run.manifest
    told = cached(headline, run, view.kind, limits.queries, limits.score, limits.seconds)
    within = "" if limits == frame.Limits() else " within the limits"
    charged = status.charged_now(manifest.state, cached(_charged, run), view.layout)
    cap = manifest.caps.get("queries")
    gained = round(told.gained, 4) + 0.0 if view.kind == "final" and told.gained is not None else None
    change = None if gained is None else f"{gained:+.4f}" if gained else "0.0000"
    with st.grid(min_column_width=170):
        st.metric(f"Front points{within}", told.front)
        st.metric(
            "Hypervolume",
            f"{told.hypervolume:.4f}",
            change,
            delta_color="normal" if gained else "off",
            delta_arrow="auto" if gained else "off",
            delta_description=f"over the last {told.recent} trials"
            if told.recent > 1
            else "with the last trial",
            help="Of the whole front. The tables hold no times at which trials ended, so the change is over"
            " the last tenth of those that ended, at least one. A further seed may make it fall.",
        )
        st.metric(
            f"Best {manifest.score.replace('_', ' ')}{within}",
            "none" if told.best is None else f"{told.best:.1%}",
            help="The highest on the front: a mean, where a point has several seeds.",
        )
        st.metric(
            f"Queries charged{f' of {cap:,.0f}' if cap else ''}",
            str(charged),
            help="Images that the teacher answered, those of all trials and of the evaluation.",
        )
        if manifest.price:
            st.metric(
                "USD", f"{manifest.cost:,.2f}", help="What the teacher's owner may bill: every attempt."
            )
        spent_on = shares(cached(_seconds_by, run))
        st.metric(
            "Hours of work",
            f"{told.hours:,.2f}",
            help=f"Of all trials together{f': {spent_on}' if spent_on else ''}.",
        )
        st.metric(
            "Failed trials",
            f"{told.failed} of {told.ended}" + (f" ({told.failed / told.ended:.0%})" if told.ended else ""),
            help="Of those that ended.",
        )


def _health(view: frame.View) -> None:
    st.subheader("Health", anchor=False)
    live: list[Finding] = []
    newer = True
    try:
        now = status.now(view)
        live, newer = life(now.run, now.driver), now.newer
    except RaysysError:
        pass  # the strip says it
    # A ledger is compared with the tables of its own time; while trials run, it is ahead of them.
    comparable = not newer or view.run.manifest.state is RunState.RUNNING

    found = worst_first([*live, *cached(run_faults, view.run, view.layout if comparable else None)])
    notes = [one for one in found if one.severity == "note"]
    if len(notes) == len(found):
        st.badge("healthy: no fault, no warning", icon=":material/check:", color="green")
    for one in found[: len(found) - len(notes)]:
        _finding(one)
    if notes:
        with st.expander(f"{len(notes)} notes" if len(notes) > 1 else "1 note"):
            for one in notes:
                _finding(one)


def run_faults(run: Snapshot, layout: RunLayout | None) -> list[Finding]:
    """The faults that tables tell, and with a `layout` the ledger in it."""
    return faults(run, status.accounts(layout) if layout else None)


def _finding(finding: Finding) -> None:
    """All of it may hold what runs say themselves: text and code only."""
    icon, color = _LOOKS[finding.severity]
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, wrap=False, gap="small"):
            st.badge(finding.severity, icon=icon, color=color)
            st.text(finding.seen, width="stretch")
        st.text(finding.advice)
        if finding.command:
            st.code(finding.command, language=None, wrap_lines=True)


def _front(view: frame.View) -> None:
    limits = view.limits
    figure = cached(
        front_figure, view.run, view.kind, limits.queries, limits.score, max_seconds=limits.seconds
    )
    if any(len(trace.x) for trace in figure.data):
        alt = cached(front_alt, view.run, view.kind, limits.queries, limits.score, limits.seconds)
        chart(figure, "overview-front-chart", alt, height=_HEIGHT)
        st.page_link("views/tradeoff.py", label="Look closer: Trade-off", icon=":material/arrow_forward:")
    else:
        st.info("There is no front yet: no trial has reached a number. It appears with the first that does.")


def _states(run: Snapshot) -> None:
    figure = cached(states_figure, run)
    if figure.data:
        chart(figure, "states-chart", cached(states_alt, run), height=_HEIGHT)
        st.page_link("views/trials.py", label="Look closer: Trials", icon=":material/arrow_forward:")
    else:
        st.info("No trial has ended yet. How they end shows here.")


def _seconds_by(run: Snapshot) -> dict[str, float]:
    return seconds_by(run.reports)


def _charged(run: Snapshot) -> int:
    return run.charged


main()
