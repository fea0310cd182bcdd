"""The dashboard, which only reads: `raysys dashboard`, or `streamlit run dashboard/app.py -- STORAGE`."""

import os
import shlex
import sys
from pathlib import Path

import streamlit as st

from dashboard import frame, snapshot, status
from raysys.errors import RaysysError

# Not in a folder called `pages`: Streamlit takes such a folder for navigation of its older kind.
_VIEWS = Path(__file__).with_name("views")

_SECTIONS = {
    "": {"overview": "Overview", "tradeoff": "Trade-off", "budget": "Budget"},
    "Search": {
        "convergence": "Convergence",
        "parameters": "Parameters",
        "trials": "Trials",
        "trial": "Trial",
    },
    "Evidence": {"queries": "Queries", "curves": "Curves", "images": "Images"},
    "Runs": {"compare": "Compare", "export": "Export"},
}

# Less empty margin than Streamlit leaves, which costs a quarter of a small window.
_STYLE = "<style>.stMainBlockContainer {padding: 4.5rem 2.5rem}</style>"


def storage() -> str:
    """Where the runs are: the argument after `--`, else RAYSYS_STORAGE, else ./runs."""
    given = sys.argv[1] if len(sys.argv) > 1 else None
    return given or os.environ.get("RAYSYS_STORAGE") or "runs"


def main() -> None:
    """Draw the frame and the page."""
    st.set_page_config(page_title="raysys", layout="wide")
    st.html(_STYLE)
    page = st.navigation(
        {
            section: [
                st.Page(_VIEWS / f"{name}.py", title=title, default=name == "overview")
                for name, title in pages.items()
            ]
            for section, pages in _SECTIONS.items()
        },
        position="top",
    )
    try:
        layouts = snapshot.runs(storage())
    except RaysysError as failure:
        if "://" in storage():
            st.error("The runs cannot be listed.")
            st.code(str(failure), language=None)
            return
        layouts = {}
    if not layouts:
        st.info("There is no run here yet. Start one, then reload this page:")
        st.code(f"raysys tune --space digits --storage {shlex.quote(storage())}", language=None)
        return
    try:
        frame.sidebar(layouts)
    except RaysysError as failure:
        st.error("This run cannot be read.")
        st.code(str(failure), language=None)
        return
    st.set_page_config(page_title=f"{page.title} · {frame.current().layout.name} · raysys")
    frame.tell_missing()
    status.strip()
    try:
        page.run()
    except RaysysError as failure:  # a further file of the run, which the rest of the frame does without
        st.error("This page cannot be shown.")
        st.code(str(failure), language=None)
    frame.link()


main()
