"""What accuracy (or agreement) costs in queries: the front, the trials, and one trial's way."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboard import snapshot
from raysys.figures.curve import curve_alt, curve_figure
from raysys.figures.front import front_alt, front_figure
from raysys.fronts.objectives import TESTED
from raysys.store.points import Kind, member_uids, varying_parameters
from raysys.store.reader import Snapshot
from raysys.store.schema import PARAMETER

_SAVE = {"toImageButtonOptions": {"format": "svg"}}
_KINDS: dict[str, Kind] = {"finished trials": "final", "all reports": "anytime"}


def main() -> None:
    """Draw the page."""
    run = snapshot.current()
    choice = st.segmented_control(
        "Front over", list(_KINDS), default="finished trials", key="front", bind="query-params", required=True
    )
    kind = _KINDS[choice or "finished trials"]
    front = snapshot.front(run, kind)
    if front.outside and not len(front.members):
        st.info("Every finished trial is beyond a limit of the space: none is on the front.")
    elif not len(front.members):
        missing = "No trial has finished yet." if kind == "final" else "No trial has reported yet."
        st.info(f"{missing} The front appears here as soon as one has.")
    figure = front_figure(run, kind)
    st.plotly_chart(figure, key="front-chart", config=_SAVE, alt=front_alt(run, kind))
    if not run.trials.num_rows:
        st.info("No trial has started yet.")
        return
    table, trial = st.columns([3, 2])
    with table:
        trials_table(run)
    with trial:
        one_trial(run)


def trials_table(run: Snapshot) -> None:
    """All trials, with the parameters that differ; picking a row shows that trial."""
    front = snapshot.front(run)
    members = zip(front.members, member_uids(run, front), strict=True)
    marks = {uid: "knee" if member == front.knee else "front" for member, uids in members for uid in uids}
    shown = [marks.get(uid, "") for uid in run.trials["uid"].to_pylist()]
    table = run.trials.append_column("front", pa.array(shown, pa.string()))
    parameters = [PARAMETER + name for name in varying_parameters(run)]
    shares = [column for pair in TESTED.items() for column in pair]
    table = table.select(["uid", "status", "front", "queries", *shares, "seconds", *parameters, "error"])
    table = table.take(pc.sort_indices(table["uid"]))
    percent = st.column_config.NumberColumn(format="percent")
    st.subheader("Trials")
    st.dataframe(
        table.rename_columns([name.removeprefix(PARAMETER) for name in table.column_names]),
        key=_table_key(run),
        hide_index=True,
        on_select=lambda: _pick(run, table["uid"].to_pylist()),
        selection_mode="single-row",
        column_config=dict.fromkeys(shares, percent),
        placeholder="",
        alt=f"{table.num_rows} trials of {run.name}",
    )


def one_trial(run: Snapshot) -> None:
    """One trial's curve, outcome and configuration."""
    st.subheader("One trial")
    uid = st.selectbox("Trial", _pickable(run), key="trial", bind="query-params")
    assert uid is not None  # there is at least one trial, and no empty choice
    row = run.trials.filter(pc.equal(run.trials["uid"], uid)).to_pylist()[0]
    st.plotly_chart(curve_figure(run, uid), key="curve-chart", config=_SAVE, alt=curve_alt(run, uid))
    st.text(f"{uid}: {row['status']}, {row['queries']:,} queries, seed {row['seed']}, {row['seconds']:.1f} s")
    if row["error"]:
        st.code(row["error"], language=None)
    with st.expander("Configuration"):
        st.code(json.dumps(json.loads(row["config"]), indent=2), language="json")


def _pickable(run: Snapshot) -> list[str]:
    """The trials by uid, but first the knee (or the front's end): the first is what the page opens with."""
    front = snapshot.front(run)
    uids: list[str] = run.trials["uid"].to_pylist()
    opening = None
    if len(front.members):
        at = -1 if front.knee is None else front.members.tolist().index(front.knee)
        opening = member_uids(run, front)[at][0]
    return sorted(uids, key=lambda uid: (uid != opening, uid))


def _table_key(run: Snapshot) -> str:
    """A key of this snapshot only: the selected rows are positions."""
    return f"table-{run.name}-{run.updated.isoformat()}"


def _pick(run: Snapshot, uids: list[str]) -> None:
    """Show the trial whose row was selected."""
    rows = st.session_state[_table_key(run)]["selection"]["rows"]
    if rows:
        st.session_state["trial"] = uids[rows[0]]


main()
