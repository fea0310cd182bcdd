"""Whether trials overfit, and when they could have ended."""

import numpy as np
import streamlit as st

from dashboard import frame
from dashboard.elements import chart, table
from dashboard.frame import View
from dashboard.snapshot import cached
from raysys.figures.curve import AXES
from raysys.figures.curves import curves_alt, curves_figure, words
from raysys.store.curves import NEAR, bands, curve_columns, plateaus
from raysys.store.points import member_uids, run_front
from raysys.store.reader import Snapshot

_WINDOWS = {"off": 1, "of 3": 3, "of 5": 5, "of 9": 9}
_MOST_LINES = 24  # trials of the front


def main() -> None:
    """Draw the page."""
    view = frame.head("Curves", "Whether trials overfit, and when they could have ended.")
    if not view.run.reports.num_rows:
        st.info("No trial has reported yet. Each does so when it has asked the teacher: wait, then refresh.")
        return
    x, y, window = _controls(view)
    front = tuple(uid for uid in cached(_front, view.run) if uid not in view.pins)
    drawn = tuple(front[place] for place in _evenly(len(front)))
    groups = (("front", drawn), ("pinned", view.pins))
    spread = cached(bands, view.run, x, y)
    if not spread.trials:
        st.info(f"No report has a finite {words(y)}.")
        return
    st.caption(_counts(spread.trials, spread.excluded, len(drawn), len(front), len(view.pins)))
    chart(
        cached(curves_figure, view.run, x, y, groups, window),
        "curves-chart",
        cached(curves_alt, view.run, x, y, groups),
    )
    _ends(view, (*view.pins, *front))


def _controls(view: View) -> tuple[str, str, int]:
    """What is drawn over what, and how much it is smoothed."""
    columns = cached(curve_columns, view.run)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        y = st.selectbox("Curve", columns, key="curve", bind="query-params", format_func=words, width=240)
        x = st.segmented_control(
            "Over", list(AXES), default="queries", key="curves-over", bind="query-params", required=True
        )
        smooth = st.segmented_control(
            "Moving median (reports)",
            list(_WINDOWS),
            default="off",
            key="smooth",
            bind="query-params",
            required=True,
        )
    return x or "queries", y or columns[0], _WINDOWS[smooth or "off"]


def _front(run: Snapshot) -> tuple[str, ...]:
    """The trials of the final front, each seed, by rising queries."""
    return tuple(uid for uids in member_uids(run, run_front(run)) for uid in uids)


def _evenly(count: int) -> list[int]:
    """At most so many places of `count`, with both ends."""
    places = np.unique(np.linspace(0, count - 1, min(count, _MOST_LINES)).round().astype(int))
    return [int(place) for place in places]


def _counts(trials: int, excluded: int, drawn: int, front: int, pinned: int) -> str:
    """What is shown, of how many."""
    lines = f"Lines: {drawn} of {front} {'other ' if pinned else ''}trials of the final front"
    lines += f", {pinned} pinned." if pinned else "; pin trials in the sidebar to see theirs."
    without = f" {excluded:,} reports without a finite value are left out." if excluded else ""
    return (
        f"Bands: quantiles over {trials:,} trial{'' if trials == 1 else 's'}, of those that have come so "
        f"far and have not ended before (n in the hover).{without} {lines} Milestones are left out."
    )


def _ends(view: View, uids: tuple[str, ...]) -> None:
    """When the trials that are drawn could have ended."""
    st.subheader("When they could have ended", anchor=False)
    rows = cached(plateaus, view.run, uids)
    if not rows.num_rows:
        st.info("No trial is on the front or pinned yet.")
        return
    percent = st.column_config.NumberColumn(format="percent")
    table(
        rows,
        "plateaus-table",
        f"The last and the best score of {rows.num_rows} trials that are pinned or on the front, and when "
        "each first came near its best.",
        column_config={
            "last": percent,
            "best": st.column_config.NumberColumn(format="percent", help="much above the last: it overfits"),
            "near best at": st.column_config.NumberColumn(
                "near best at (queries)",
                format="localized",
                help=f"first within {NEAR:.0%} points of its best",
            ),
            "queries": st.column_config.NumberColumn("queries in all", format="localized"),
            "spare": st.column_config.NumberColumn(format="percent", help="share of the queries after that"),
        },
    )


main()
