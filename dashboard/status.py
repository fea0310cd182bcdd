"""The strip above every page: what the run does now, and whether there is news. The one live part."""

import streamlit as st

from dashboard import frame, snapshot
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState

_POLL_SECONDS = 5


def strip() -> None:
    """Draw the strip."""
    view = frame.current()
    running = view.run.manifest.state is RunState.RUNNING
    st.fragment(_status, run_every=_POLL_SECONDS if running else None, key="status")(view.layout)


def _status(layout: RunLayout) -> None:
    run = frame.current().run
    others = ", ".join(f"{count} {status}" for status, count in run.counts().items() if count)
    damaged = f" {run.skipped} damaged files are left out." if run.skipped else ""
    as_of = f"As of {run.updated:%Y-%m-%d %H:%M:%S} UTC."
    st.caption(f"{run.manifest.state.value}. Trials: {others or 'none'}. {as_of}{damaged}")
    if snapshot.has_news(layout):
        line = st.container(horizontal=True, vertical_alignment="center")
        line.text("There are newer results.")
        if line.button("Refresh", key="refresh"):
            snapshot.refresh(layout)
            st.rerun()
