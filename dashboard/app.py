"""The dashboard: `raysys dashboard STORAGE`, or `streamlit run dashboard/app.py -- STORAGE`. It only reads.

The frame of every page: which run, its state, and whether there is news.
"""

import os
import shlex
import sys
from pathlib import Path

import streamlit as st

from dashboard import snapshot
from raysys.errors import RaysysError
from raysys.records import TrialStatus
from raysys.store.reader import Snapshot

_POLL_SECONDS = 5


def storage() -> str:
    """Where the runs are: the argument after `--`, else RAYSYS_STORAGE, else ./runs."""
    given = sys.argv[1] if len(sys.argv) > 1 else None
    return given or os.environ.get("RAYSYS_STORAGE") or "runs"


def main() -> None:
    """Draw the frame and the page."""
    st.set_page_config(page_title="raysys", layout="wide")
    try:
        runs = snapshot.runs(storage())
    except RaysysError as failure:
        if "://" in storage():
            st.error("The runs cannot be listed.")
            st.code(str(failure), language=None)
            return
        runs = {}
    if not runs:
        st.info("There is no run here yet. Start one, then reload this page:")
        st.code(f"raysys tune --space digits --storage {shlex.quote(storage())}", language=None)
        return
    name = st.sidebar.selectbox("Run", list(runs), key="run", bind="query-params")
    path = runs[name or next(iter(runs))]
    st.session_state["path"] = path
    try:
        run = snapshot.frozen(path)
    except RaysysError as failure:
        st.error("This run cannot be read.")
        st.code(str(failure), language=None)
        return
    # Not in a folder called `pages`: Streamlit takes such a folder for navigation of its older kind.
    page = st.navigation([st.Page(Path(__file__).with_name("views") / "tradeoff.py", title="Trade-off")])
    header(run)
    st.fragment(news, run_every=_POLL_SECONDS if run.manifest.state == "running" else None)(path)
    page.run()


def header(run: Snapshot) -> None:
    """State, counts, spend and front of the run, and of when these are."""
    front = snapshot.front(run)
    counts = {status: count for status, count in run.counts().items() if count}
    cap = run.manifest.caps.get("queries")
    strip = st.container(horizontal=True)
    strip.metric("State", run.manifest.state.value)
    strip.metric("Trials finished", f"{run.counts()[TrialStatus.FINISHED]} of {run.manifest.trials}")
    strip.metric("Queries charged", f"{run.charged:,}" + (f" of {int(cap):,}" if cap else ""))
    strip.metric("Front", f"{len(front.members)} points")
    strip.metric("Hypervolume", f"{front.hypervolume:.3f}")
    others = ", ".join(f"{count} {status}" for status, count in counts.items())
    damaged = f" {run.skipped} damaged files are left out." if run.skipped else ""
    st.caption(f"Trials: {others or 'none'}. As of {run.updated:%Y-%m-%d %H:%M:%S} UTC.{damaged}")


def news(path: str) -> None:
    """Offer newer results; what is on the page stays until then, zoom and selection included."""
    if snapshot.has_news(path):
        line = st.container(horizontal=True, vertical_alignment="center")
        line.text("There are newer results.")
        if line.button("Refresh", key="refresh"):
            snapshot.refresh(path)
            st.rerun()


main()
