"""Find, pin and compare trials."""

import zlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboard import frame
from dashboard.elements import chart, table
from dashboard.frame import View
from dashboard.snapshot import cached
from raysys.errors import UsageError
from raysys.figures.curves import curves_alt, curves_figure
from raysys.records import TrialStatus
from raysys.store.csv_text import csv_bytes
from raysys.store.curves import sparklines
from raysys.store.manifest import RunState
from raysys.store.points import Kind
from raysys.store.reader import Snapshot
from raysys.store.schema import PARAMETER
from raysys.store.trial_list import filtered_trials, trial_list

_PAGE_ROWS = 1000
_MOST_HEIGHT = 600  # pixels
_CURVE = "curve"
_LOST = "Overview names them; restore the files from a backup, then refresh."
_SHARES = ("val_accuracy", "agreement", "test_accuracy", "test_agreement")


def main() -> None:
    """Draw the page."""
    view = frame.head("Trials", "Find, pin and compare trials.")
    total = view.run.trials.num_rows
    if not total:
        _none(view.run)
        return
    if view.run.skipped:
        st.warning(f"Rows of the tables are lost with damaged files, so trials may be missing. {_LOST}")
    try:
        found = _filtered(view)
    except UsageError as failure:
        st.error("This cannot be looked for.")
        st.code(str(failure), language=None)
        return
    st.caption(
        f"{found.num_rows:,} of {_trials(total)}. Layer 1 is the final front, layer 2 the front without it, "
        "and so on. Parameters that are the same in all trials are left out."
        + (" Of trials that have not ended: queries, seconds and score so far." if _going(view.run) else "")
    )
    if not found.num_rows:
        st.info("No trial matches. Take a filter away.")
        return
    shown, start = _page(found)
    bar = st.container(horizontal=True, vertical_alignment="bottom")
    selected = _pick(view, shown, start, found.num_rows)
    with bar:
        _actions(view, shown["uid"].to_pylist(), selected, found)
    if selected:
        _compare(view, selected)


def _going(run: Snapshot) -> bool:
    """Whether a trial has not ended."""
    return any(not TrialStatus(status).ended for status in run.trials["status"].unique().to_pylist())


def _none(run: Snapshot) -> None:
    """Why there is no trial."""
    if run.skipped:
        st.warning(f"No trial is left: the rows of the tables are lost with damaged files. {_LOST}")
    elif run.manifest.state is RunState.RUNNING:
        st.info("No trial has begun yet. They appear here as they do: wait, then refresh.")
    else:
        st.info("This run has no trial: it ended before one began.")


def _filtered(view: View) -> pa.Table:
    """The trials that the filters leave; all of them are bound to the address."""
    line = st.columns([3, 3, 2], vertical_alignment="bottom")
    find = line[0].text_input(
        "Find", key="find", bind="query-params", max_chars=200,
        placeholder="uid, error, lr=0.01, lr>0.01",
        help="Text of the uid, the error or a parameter; or one comparison of a column: NAME=VALUE (exactly "
        "it), NAME>NUMBER, NAME<NUMBER, NAME>=NUMBER, NAME<=NUMBER.",
    )  # fmt: skip
    states = line[1].multiselect(
        "States", [one.value for one in TrialStatus], key="states", bind="query-params", placeholder="all"
    )
    seed = line[2].number_input("Seed", min_value=0, value=None, step=1, key="seed", bind="query-params")
    line = st.columns([3, 3, 2], vertical_alignment="bottom")
    columns = cached(trial_list, view.run, view.kind).column_names
    sort = line[0].selectbox("Sort by", columns, key="sort", bind="query-params", format_func=_words)
    descending = line[1].toggle("Largest first", key="descending", bind="query-params")
    on_front = line[2].toggle("Front only", key="on-front", bind="query-params")
    return cached(_found, view.run, view.kind, find or "", states, seed, on_front, sort or "uid", descending)


def _found(
    run: Snapshot,
    kind: Kind,
    find: str,
    states: Sequence[str],
    seed: int | None,
    on_front: bool,
    sort: str,
    descending: bool,
) -> pa.Table:
    return filtered_trials(cached(trial_list, run, kind), find, states, seed, on_front, sort, descending)


def _page(found: pa.Table) -> tuple[pa.Table, int]:
    """The rows of the page that is looked at, and where it begins."""
    pages = -(-found.num_rows // _PAGE_ROWS)
    page = st.pagination(pages, key="trials-page", bind="query-params") if pages > 1 else 1
    start = (min(page, pages) - 1) * _PAGE_ROWS
    return found.slice(start, _PAGE_ROWS), start


def _pick(view: View, shown: pa.Table, start: int, total: int) -> list[str]:
    """Draw the table; the uids of the rows that are selected in it."""
    uids = shown["uid"].to_pylist()
    # A selection is of positions: another snapshot or filter must not inherit it.
    identity = zlib.crc32(repr((view.run.path, view.run.updated, uids)).encode())
    curves = cached(sparklines, view.run, tuple(uids))
    picked = table(
        shown.add_column(shown.column_names.index("seconds"), _CURVE, curves),
        f"trials-{identity:08x}",
        f"Trials {start + 1:,} to {start + len(uids):,} of {total:,}, one a row; select rows to compare.",
        height=min(_MOST_HEIGHT, 37 + 35 * len(uids)),
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "uid": st.column_config.TextColumn(pinned=True),
            **{
                name: st.column_config.NumberColumn(_words(name), format="percent")
                for name in _SHARES
                if name in shown.column_names
            },
            _CURVE: st.column_config.LineChartColumn(
                help=f"{_words(view.run.manifest.score)} from 0 to 100 % over the trial's reports",
                width="small",
                y_min=0,
                y_max=1,
            ),
            "queries": st.column_config.NumberColumn(format="localized"),
            "USD": st.column_config.NumberColumn(format="dollar"),
            "seed": st.column_config.NumberColumn(format="%d"),
            "seconds": st.column_config.NumberColumn(format="%.1f"),
        },
    )
    return [uids[row] for row in picked["selection"]["rows"] if row < len(uids)]


def _actions(view: View, uids: list[str], selected: list[str], found: pa.Table) -> None:
    """What can be done with the rows; none of it needs a mouse."""
    chosen = st.selectbox(
        "Open trial", uids, index=None, key="open-trial", placeholder="type a uid", width=200
    )
    one = len(selected) == 1
    if st.button("Open selected", key="open-selected", disabled=not one):
        chosen = selected[0]
    if chosen:
        st.switch_page("views/trial.py", query_params={"trial": chosen})
    pinned = bool(selected) and set(selected) <= set(view.pins)
    st.button(
        "Selected are pinned" if pinned else f"Pin {len(selected)} selected" if selected else "Pin selected",
        key="pin-selected",
        disabled=not selected or pinned,
        help=f"{frame.MOST_PINNED} trials can be pinned; they follow from page to page",
        on_click=_pin,
        args=(view.pins, selected),
    )
    rows = found.filter(pc.is_in(found["uid"], pa.array(selected))) if selected else found
    st.download_button(
        f"CSV of {_trials(len(selected))} selected" if selected else f"CSV of {_trials(found.num_rows)}",
        data=lambda: csv_bytes(
            rows.rename_columns([one.removeprefix(PARAMETER) for one in rows.column_names])
        ),
        file_name=f"{view.run.name}-trials.csv",
        mime="text/csv",
        key="trials-csv",
        on_click="ignore",
    )


def _pin(pins: Sequence[str], selected: Sequence[str]) -> None:
    """Pin what is selected; what was pinned first goes where there are too many."""
    every = [*(uid for uid in pins if uid not in selected), *selected]
    st.session_state["pin"] = every[-frame.MOST_PINNED :]


def _compare(view: View, selected: list[str]) -> None:
    """The curves of the selected trials."""
    drawn = tuple(selected[: frame.MOST_PINNED])
    st.subheader("Curves of the selected trials", anchor=False)
    if len(drawn) < len(selected):
        st.caption(f"Showing the first {len(drawn)} of {len(selected)}.")
    groups = tuple((uid, (uid,)) for uid in drawn)
    score = view.run.manifest.score
    chart(
        cached(curves_figure, view.run, "queries", score, groups),
        "selected-chart",
        cached(curves_alt, view.run, "queries", score, groups),
    )


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count:,} trials"


def _words(column: str) -> str:
    return column.removeprefix(PARAMETER).replace("_", " ")


main()
