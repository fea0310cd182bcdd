"""Which method or search wins, honestly."""

import streamlit as st

from dashboard import frame
from dashboard.elements import chart, table
from dashboard.snapshot import cached_all
from raysys.figures.comparison import Comparison, compare_runs
from raysys.figures.looks import text

_COUNTS = {name: st.column_config.NumberColumn(format="localized") for name in ("budget", "queries")}


def main() -> None:
    """Draw the page."""
    view = frame.head("Compare", "Which method or search wins, honestly.")
    found = cached_all(compare_runs, view.runs)
    if not view.others:
        st.info(
            "Pick other runs in “Compare with”, in the sidebar. Runs of one teacher and data set compare."
        )
    if found.left_out:
        st.warning("Runs that cannot be compared with this one are left out.")
        st.code("\n".join(found.left_out), language=None, wrap_lines=True)
    if not found.runs:
        st.info("No run here has a finished trial: there is nothing to compare yet. Come back when one has.")
        return
    _searches(found)
    _methods(found)
    if len(found.runs) > 1:
        _settings(found)
    st.caption("The same from a terminal:")
    st.code(found.commands, language="bash", wrap_lines=True)


def _searches(found: Comparison) -> None:
    st.subheader("Searches", anchor=False)
    st.caption(
        "Runs that differ by their seed only are repetitions of one search. Whole final fronts are compared:"
        " limits, and the choice of reports, do not count here."
    )
    if found.fronts is None or found.hypervolume is None or found.attained is None:
        st.info("None of these runs has a front: no finished trial has a score within the limits.")
        return
    chart(found.fronts.figure, "compare-fronts-chart", found.fronts.alt)
    table(
        found.searches_table,
        "compare-searches",
        f"{len(found.searches)} searches, hypervolume and n",
        column_config=_COUNTS,
    )
    for note in found.searches_notes:
        st.caption(note)
    chart(found.hypervolume.figure, "compare-hypervolume-chart", found.hypervolume.alt)
    if found.attainment is None:
        st.info("What half of the runs attain, and how sure that is, needs at least 3 runs of one search.")
    else:
        chart(found.attainment.figure, "compare-attainment-chart", found.attainment.alt)
    st.caption(
        f"{text(found.score)} in % that all runs of a search attain within a budget, half of them, the best:"
    )
    table(
        found.attained,
        "compare-attained",
        f"what is attained within {found.attained.num_rows} budgets",
        column_config=_COUNTS,
    )
    if found.difference is not None:
        chart(found.difference.figure, "compare-difference-chart", found.difference.alt)
        st.text("\n".join(found.ahead))
    elif len(found.searches) > 1:
        st.info("By how much a search is ahead of the first, budget by budget, needs 3 runs of both.")


def _methods(found: Comparison) -> None:
    st.subheader("Methods", anchor=False)
    table(
        found.methods,
        "compare-methods",
        f"the teacher and {found.methods.num_rows - 1} rows",
        column_config=_COUNTS,
    )
    st.text("\n".join(found.methods_notes))


def _settings(found: Comparison) -> None:
    st.subheader("What differs between the runs", anchor=False)
    if found.settings.num_rows:
        table(found.settings, "compare-settings", f"{found.settings.num_rows} settings that differ")
    else:
        st.info("Nothing: the same space, settings, versions, code and teacher.")


main()
