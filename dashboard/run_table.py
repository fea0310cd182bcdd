"""All runs of the storage in one table; picking a row looks at that run."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import streamlit as st

from dashboard import frame, status
from dashboard.elements import table
from raysys.errors import RaysysError
from raysys.records import TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState
from raysys.store.reader import last_change
from raysys.store.runs import RunSummary, has_driver, newest_first, summarise
from raysys.teacher.accounts import Charged

_Line = tuple[RunSummary, Charged]

_LOOK_AGAIN_S = 10
"""The storage is not asked for all its runs more often than this."""

_SHOWN = (TrialStatus.FINISHED, TrialStatus.STOPPED, TrialStatus.FAILED, TrialStatus.RUNNING)


def run_table(layouts: Mapping[str, RunLayout], picked: str) -> None:
    """Draw the table."""
    found = _summaries(tuple(layout.location for layout in layouts.values()), tuple(layouts.values()))
    spent = {run.name: charged for run, charged in found}
    runs = newest_first(run for run, _ in found)
    key, names = f"runs-of-{picked}", [run.name for run in runs]
    readable = [None if run.problem else run for run in runs]
    columns = {
        "run": names,
        "state": ["unreadable" if run.problem else run.told_state for run in runs],
        **{state.value: [run.counts.get(state) for run in runs] for state in _SHOWN},
        "front": [run and run.front for run in readable],
        "hypervolume": [run and run.hypervolume for run in readable],
        "charged": [run and spent[run.name].queries for run in readable],
        "changed (UTC)": [run.updated and f"{run.updated:%Y-%m-%d %H:%M}" for run in runs],
    }
    if unreadable := readable.count(None):
        columns["problem"] = [run.problem for run in runs]
    but = f", {unreadable} of which cannot be read" if unreadable else ""
    told = f"{len(runs)} {'runs' if len(runs) > 1 else 'run'}{but}"
    st.caption(f"{told}, as they are now. Pick a row to look at that run.")
    if least := [run.name for run in readable if run and not spent[run.name].exact]:
        st.text(f"At least so many queries, as the ledger is large or cannot be read: {', '.join(least)}")
    table(
        pa.table(columns),
        key,
        f"{told}: state, trials by status, front, hypervolume, queries, last change.",
        on_select=lambda: _look_at(key, names),
        selection_mode="single-row",
        column_config={
            "hypervolume": st.column_config.NumberColumn(format="%.3f"),
            "charged": st.column_config.NumberColumn(format="localized"),
        },
    )


def _look_at(key: str, names: list[str]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    if rows:
        frame.look_at(names[rows[0]])


@st.cache_resource(ttl=_LOOK_AGAIN_S, max_entries=8, show_spinner="Reading the runs")
def _summaries(locations: tuple[str, ...], _layouts: tuple[RunLayout, ...]) -> list[_Line]:
    del locations  # the key
    runs = [(_now(layout), layout) for layout in _layouts]
    return [(run, status.charged_now(run.state, run.charged, layout)) for run, layout in runs]


def _now(layout: RunLayout) -> RunSummary:
    """A run whose tables are read again only when they changed; whether its driver lives is always asked."""
    try:
        run = _summary(layout.location, last_change(layout), layout)
        return replace(run, alive=has_driver(layout)) if run.state is RunState.RUNNING else run
    except RaysysError as failure:
        return RunSummary(layout.name, layout.location, problem=f"{failure.what}: {failure.why}")


@st.cache_resource(max_entries=500, show_spinner=False, validate=lambda run: not run.problem)
def _summary(location: str, stamp: datetime, _layout: RunLayout) -> RunSummary:
    del location, stamp  # the key
    return summarise(_layout)
