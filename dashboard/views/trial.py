"""Whether to trust this trial, and how to repeat it."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow.compute as pc
import streamlit as st

from dashboard import frame, pictures
from dashboard.elements import chart, table
from dashboard.frame import View
from dashboard.snapshot import cached
from dashboard.trial_files import trial_files, trial_repeat
from dashboard.trial_ledger import trial_ledger
from raysys.errors import RaysysError
from raysys.figures.curve import AXES, curve_alt, curve_figure, loss_alt, loss_figure
from raysys.figures.looks import text
from raysys.fronts.objectives import TESTED
from raysys.records import TrialRecord, TrialStatus
from raysys.store.front_distance import front_distances
from raysys.store.pictures import sheet_steps
from raysys.store.reader import Snapshot
from raysys.store.schema import TRIALS, trial_record
from raysys.store.seconds import seconds_by, shares
from raysys.store.trial_list import FRONT, KNEE, Standing, siblings, standing, trial_list, trials_so_far

_SHOWN_SHEETS = 8
_MOST_NAMED = 6


def main() -> None:
    """Draw the page."""
    view = frame.head("Trial", "Whether to trust this trial, and how to repeat it.")
    uids = sorted(view.run.trials["uid"].to_pylist())
    if not uids:
        if view.run.skipped:
            st.warning("No trial is left: the rows of the tables are lost with damaged files. See Overview.")
        else:
            st.info("No trial has begun yet. They can be looked at as soon as they have: wait, then refresh.")
        return
    uid = _picked(view, uids)
    record = cached(_record, view.run, uid)
    _headline(view.run, record)
    if record.error:
        st.text("Error" if record.status is TrialStatus.FAILED else "Note")
        st.code(record.error, language=None, wrap_lines=True)
    _standing(view.run, uid)
    _parameters(view.run, uid)
    tabs = st.tabs(list(_PARTS), key="trial-part", on_change="rerun", bind="query-params")
    for tab, draw in zip(tabs, _PARTS.values(), strict=True):
        if tab.open:
            with tab:
                _draw(draw, view, record)


def _draw(part: Callable[[View, TrialRecord], None], view: View, record: TrialRecord) -> None:
    """Draw a part; a file of the run that cannot be read is told, and the page goes on."""
    try:
        part(view, record)
    except RaysysError as failure:
        st.error("A file of this trial cannot be read.")
        st.code(str(failure), language=None)


def _picked(view: View, uids: list[str]) -> str:
    """The trial in the address, else the knee."""
    asked = st.query_params.get("trial")
    if asked is not None and asked not in uids:
        st.warning("This run has no such trial, so another one is shown. Asked for was:")
        st.code(asked[:100], language=None)
    if asked not in uids:
        asked = st.query_params["trial"] = uids[cached(_first, view.run)]
    # Not bound: when a page is left, what it bound is taken from its address, and Back would lose the trial.
    st.session_state["trial"] = asked
    st.selectbox("Trial", uids, key="trial", on_change=_pick, width=260, label_visibility="collapsed")
    return asked


def _pick() -> None:
    _go(st.session_state["trial"])


def _first(run: Snapshot) -> int:
    """Which of the uids is looked at first: the knee, else one of the front."""
    marks = cached(trial_list, run, "final")["front"].to_pylist()
    return next((marks.index(mark) for mark in (KNEE, FRONT) if mark in marks), 0)


def _record(run: Snapshot, uid: str) -> TrialRecord:
    trials = cached(trials_so_far, run)
    row = trials.filter(pc.equal(trials["uid"], uid)).select(TRIALS.names)
    return trial_record(row.to_pylist()[0])


def _seconds_by(run: Snapshot, uid: str) -> dict[str, float]:
    return seconds_by(run.reports.filter(pc.equal(run.reports["uid"], uid)))


def _headline(run: Snapshot, record: TrialRecord) -> None:
    """What it is and what it reached."""
    score, budget = run.manifest.score, record.config.options.get("query_budget")
    tested, config = getattr(record, TESTED[score]), record.config
    yet = "" if record.status.ended else " so far"
    metrics = {
        "State": record.status.value,
        f"{text(score).capitalize()}{yet} ↑": _share(getattr(record, score)),
        f"{text(TESTED[score]).capitalize()} ↑": _share(tested) if tested is not None else None,
        f"Queries (images){yet} ↓": f"{record.queries:,}",
        "Query budget": f"{budget:,}" if isinstance(budget, int) else None,
        f"Cost (USD){yet} ↓": f"{record.queries * run.manifest.price:,.2f}" if run.manifest.price else None,
        f"Seconds{yet} ↓": f"{record.seconds:,.1f}",
    }
    with st.container(horizontal=True):
        for label, value in metrics.items():
            if value is not None:
                st.metric(label, value, width="content")
    if yet:
        st.caption("So far: by its last report. What it asked since is in the ledger only.")
    st.text(
        f"Method {config.method}, {config.response} answers, student {config.student}, seed {config.seed}."
    )
    if told := shares(cached(_seconds_by, run, record.uid)):
        st.text(f"Time: {told}.", help="By its last report. Ask is waiting for the teacher's answers.")


def _standing(run: Snapshot, uid: str) -> None:
    """Where it stands among the others, with ways to them."""
    others = cached(siblings, run, uid)
    where = cached(standing, run, uid)
    place = cached(_place, run, uid)
    st.text(" ".join([place, *_sentences(where, text(run.manifest.score))]))
    for label, uids in (("Other seeds of this recipe", others), ("Dominated by", where.dominated_by)):
        if uids:
            _links(label, uids)


def _place(run: Snapshot, uid: str) -> str:
    """Where its recipe stands, which is one point with all its seeds."""
    rows = cached(trial_list, run, "final")
    row = rows.filter(pc.equal(rows["uid"], uid)).select(["front", "layer"]).to_pylist()[0]
    if row["layer"] is None:
        return "It takes no part in the final front: unfinished, a value not finite, or beyond a limit."
    if row["front"] is None:
        return f"Its recipe is on layer {row['layer']}, where layer 1 is the final front."
    return f"Its recipe is on the final front{': it is the knee' if row['front'] == KNEE else ''}."


def _sentences(where: Standing, score: str) -> list[str]:
    """How it compares with other trials."""
    told = []
    if where.below is not None:
        told.append(
            f"Higher {score} than {where.below:.0%} of the other finished trials (n = {where.others})."
        )
    if where.dominated_by is not None and where.dominates is not None:
        count = len(where.dominated_by)
        trials = "No finished trial dominates" if not count else _many(count)
        told.append(f"{trials} it; it dominates {len(where.dominates):,}.")
    return told


def _many(count: int) -> str:
    return "1 finished trial dominates" if count == 1 else f"{count:,} finished trials dominate"


def _links(label: str, uids: Sequence[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(f"{label}:")
        for uid in uids[:_MOST_NAMED]:
            st.button(_literal(uid), key=f"{label}-{uid}", on_click=_go, args=(uid,), type="tertiary")
        if len(uids) > _MOST_NAMED:
            st.text(f"and {len(uids) - _MOST_NAMED:,} more")


def _literal(uid: str) -> str:
    """A label of these very letters: labels are Markdown."""
    return re.sub(r"(\W)", r"\\\1", uid)


def _go(uid: str) -> None:
    st.query_params["trial"] = uid


def _parameters(run: Snapshot, uid: str) -> None:
    """Its parameters beside the front's."""
    rows = cached(front_distances, run, uid)
    st.subheader("Parameters", anchor=False)
    if not rows.num_rows:
        st.info("No parameter differs between the trials of this run so far.")
        return
    table(
        rows,
        "parameters-table",
        f"{rows.num_rows} parameters of trial {uid} that differ between trials, with the front's median.",
        column_config={
            "front": st.column_config.TextColumn(
                "front's median", help="over the points of the final front; of words the most frequent"
            ),
            "distance": st.column_config.NumberColumn(
                format="percent",
                help="from the front's median, as a share of the declared range, on its scale",
            ),
            "range": st.column_config.TextColumn("declared", help="the range or the choices of the space"),
            "n": st.column_config.NumberColumn(help="points of the front that have this parameter"),
        },
    )


def _curve(view: View, record: TrialRecord) -> None:
    """What it had reached, and its losses."""
    uid = record.uid
    x = st.segmented_control(
        "Over", list(AXES), default="queries", key="curve-over", bind="query-params", required=True
    )
    x = x or "queries"
    alt = cached(curve_alt, view.run, uid, x)
    if alt.endswith("no reports yet."):
        st.info("This trial has no reports yet: it reports each time that it has asked the teacher.")
        return
    chart(cached(curve_figure, view.run, uid, x), "curve-chart", alt)
    losses = cached(loss_figure, view.run, uid, x)
    if losses.data:
        chart(losses, "loss-chart", cached(loss_alt, view.run, uid, x))
    else:
        st.info("Its reports hold no losses.")


def _images(view: View, record: TrialRecord) -> None:
    """What its generator made."""
    steps = sheet_steps(view.layout, record.uid)
    if not steps:
        st.info(pictures.NO_SHEETS)
        return
    places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _SHOWN_SHEETS)).round().astype(int))
    st.caption(f"What its generator made at {len(places)} of {len(steps)} steps, from the first to the last.")
    pictures.sheets(view.layout, record.uid, [steps[place] for place in places])
    st.page_link(
        "views/images.py", label="All of them, beside another trial's", query_params={"images": record.uid}
    )


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.2%}"


_PARTS = {
    "Curve": _curve,
    "Ledger": trial_ledger,
    "Images": _images,
    "Files": trial_files,
    "Repeat": trial_repeat,
}


main()
