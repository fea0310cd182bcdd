"""Whether to trust this trial, and how to repeat it."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboard import frame, pictures
from dashboard.elements import chart, table
from dashboard.frame import View
from dashboard.snapshot import cached
from raysys.errors import RaysysError
from raysys.figures.curve import AXES, curve_alt, curve_figure, loss_alt, loss_figure
from raysys.fronts.objectives import TESTED
from raysys.records import TrialRecord, TrialStatus
from raysys.store.front_distance import front_distances
from raysys.store.pictures import file_sha256, files_of, has_student, sheet_steps
from raysys.store.reader import Snapshot
from raysys.store.schema import TRIALS, trial_record
from raysys.store.trial_list import FRONT, KNEE, Standing, siblings, standing, trial_list
from raysys.teacher.charges import charges_table, ledger_size

_SHOWN_SHEETS = 8
_SMALL_FILE = 4_000_000  # bytes; its hash is told at once
_SMALL_LEDGER = 8_000_000  # bytes; it is read at once
_MOST_NAMED = 6


def main() -> None:
    """Draw the page."""
    view = frame.head("Trial", "Whether to trust this trial, and how to repeat it.")
    uids = sorted(view.run.trials["uid"].to_pylist())
    if not uids:
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
    row = run.trials.filter(pc.equal(run.trials["uid"], uid)).select(TRIALS.names)
    return trial_record(row.to_pylist()[0])


def _headline(run: Snapshot, record: TrialRecord) -> None:
    """What it is and what it reached."""
    score, budget = run.manifest.score, record.config.options.get("query_budget")
    tested, config = getattr(record, TESTED[score]), record.config
    metrics = {
        "State": record.status.value,
        f"{_words(score).capitalize()} ↑": _share(getattr(record, score)),
        f"{_words(TESTED[score]).capitalize()} ↑": _share(tested) if tested is not None else None,
        "Queries (images) ↓": f"{record.queries:,}",
        "Query budget": f"{budget:,}" if isinstance(budget, int) else None,
        "Cost (USD) ↓": f"{record.queries * run.manifest.price:,.2f}" if run.manifest.price else None,
        "Seconds ↓": f"{record.seconds:,.1f}",
    }
    with st.container(horizontal=True):
        for label, value in metrics.items():
            if value is not None:
                st.metric(label, value, width="content")
    st.text(
        f"Method {config.method}, {config.response} answers, student {config.student}, seed {config.seed}."
    )


def _standing(run: Snapshot, uid: str) -> None:
    """Where it stands among the others, with ways to them."""
    others = cached(siblings, run, uid)
    where = cached(standing, run, uid)
    place = cached(_place, run, uid)
    st.text(" ".join([place, *_sentences(where, _words(run.manifest.score))]))
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
            st.button(uid, key=f"{label}-{uid}", on_click=_go, args=(uid,), type="tertiary")
        if len(uids) > _MOST_NAMED:
            st.text(f"and {len(uids) - _MOST_NAMED:,} more")


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


def _ledger(view: View, record: TrialRecord) -> None:
    """What it was charged, request by request, and whether that is what it says."""
    size = ledger_size(view.layout.ledger, view.layout.filesystem)
    if not size:
        st.info("The run has no ledger yet: nothing was asked.")
        return
    if size > _SMALL_LEDGER and not st.toggle(
        f"Read the ledger ({size / 1e6:,.0f} MB)", key="trial-read-ledger"
    ):
        return
    rows = cached(_charges, view.run, record.uid)
    _reconcile(record, pc.sum(rows["charged"], min_count=0).as_py())
    if not rows.num_rows:
        return
    table(
        rows,
        "ledger-table",
        f"The {rows.num_rows:,} requests of trial {record.uid}, one a row, in the order of asking.",
        column_config={
            "time": st.column_config.DatetimeColumn("sent at (UTC)", format="YYYY-MM-DD HH:mm:ss"),
            "seconds": st.column_config.NumberColumn(format="%.3f", help="until the answer was recorded"),
            "sent": st.column_config.NumberColumn(
                help="images in all attempts: what the teacher may have seen"
            ),
            "charged": st.column_config.NumberColumn(help="queries: images whose answers were recorded"),
            "remaining": st.column_config.NumberColumn(help="of the query budget, afterwards"),
        },
    )


def _charges(run: Snapshot, uid: str) -> pa.Table:
    """The requests of a trial, with running totals."""
    rows = cached(_all_charges, run)
    rows = rows.filter(pc.equal(rows["uid"], uid)).sort_by("sequence")
    total = pc.cumulative_sum(rows["charged"])
    waited = pc.microseconds_between(rows["sent_at"], rows["answered_at"]).cast(pa.float64())
    columns = {
        "time": rows["sent_at"],
        "sequence": rows["sequence"],
        "images": rows["images"],
        "sent": rows["sent"],
        "charged": rows["charged"],
        "cumulative": total,
    }
    if isinstance(budget := _record(run, uid).config.options.get("query_budget"), int):
        columns["remaining"] = pc.subtract(budget, total)
    columns["seconds"] = pc.divide(waited, 1e6)
    columns["outcome"] = _outcomes(rows)
    columns["request"] = pc.utf8_slice_codeunits(rows["request_id"], 0, 12)
    return pa.table(columns)


def _all_charges(run: Snapshot) -> pa.Table:
    """The run's ledger; `run` is that of the frame."""
    del run
    layout = frame.current().layout
    return charges_table(layout.ledger, layout.filesystem)


def _outcomes(rows: pa.Table) -> pa.Array:
    """What came of each request."""
    answered, attempts = rows["answered_at"].is_valid(), rows["attempts"]
    return pc.case_when(
        pc.make_struct(pc.invert(answered), pc.greater(attempts, 1)), "no answer", "retried", "answered"
    )


def _reconcile(record: TrialRecord, charged: int) -> None:
    """Say whether the ledger and the trial agree."""
    both = f"the ledger charged {charged:,} queries, the trial reports {record.queries:,}"
    if charged == record.queries:
        st.success(f"Reconciled: {both}.")
    elif charged > record.queries and record.status is not TrialStatus.FINISHED:
        st.info(f"Not finished: {both}. What was asked after its last report is charged, too.")
    else:
        st.error(f"Does not agree: {both}. `raysys audit` tells more.")


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


def _files(view: View, record: TrialRecord) -> None:
    """What is kept of it."""
    files = files_of(view.layout, record.uid)
    if record.weights_sha256:
        st.text("sha256 of the student's weights, by name and value, as the trial reported it:")
        st.code(record.weights_sha256, language=None)
    if not files.num_rows:
        st.info("No file is kept of it: students are kept while they may be on the front.")
        return
    large = [size for size in files["bytes"].to_pylist() if size > _SMALL_FILE]
    every = bool(large) and st.toggle(
        f"Hash the large files, too ({sum(large) / 1e6:,.0f} MB)", key="hash-all"
    )
    hashes = [
        file_sha256(view.layout, row["file"]) if every or row["bytes"] <= _SMALL_FILE else None
        for row in files.to_pylist()
    ]
    table(
        files.append_column("sha256", pa.array(hashes, pa.string())),
        "files-table",
        f"{files.num_rows} files of trial {record.uid}, with size and sha256.",
        column_config={
            "bytes": st.column_config.NumberColumn(format="localized"),
            "written": st.column_config.DatetimeColumn("written (UTC)", format="YYYY-MM-DD HH:mm:ss"),
        },
    )


def _repeat(view: View, record: TrialRecord) -> None:
    """How to get the same student again, and what it was made with."""
    run, uid = view.run, record.uid
    st.text("Once more, in a run of its own (the same student on the same machine and thread count):")
    st.code(f"raysys trial --from {shlex.quote(f'{run.path}:{uid}')}", language="shell", wrap_lines=True)
    if has_student(view.layout, uid):
        st.text("Its student, as safetensors with config and model card:")
        command = f"raysys export {shlex.quote(run.path)} --student {shlex.quote(uid)} -o {shlex.quote(uid)}"
        st.code(command, language="shell", wrap_lines=True)
    st.text("Its config:")
    config = {**asdict(replace(record.config, options={})), "options": dict(record.config.options)}
    st.code(json.dumps(config, indent=2), language="json")
    st.text("What it was made with:")
    rows = cached(_environment, run)
    table(rows, "environment-table", f"{rows.num_rows} versions and hashes of the run.")


def _environment(run: Snapshot) -> pa.Table:
    manifest = run.manifest
    teacher, data = manifest.teacher, manifest.dataset
    rows = {
        "raysys": manifest.raysys,
        **manifest.versions,
        "code sha256": manifest.code,
        "space": str(manifest.space.get("name", "")),
        "space sha256": manifest.space_digest,
        "data set": str(data.get("name", "")),
        "data set sha256": str(data.get("sha256", "")),
        "teacher": f"{teacher.id} ({teacher.architecture})" if teacher else "",
        "teacher sha256": teacher.sha256 if teacher else "",
    }
    known = {name: value for name, value in rows.items() if value}
    return pa.table({"what": list(known), "value": list(known.values())})


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.2%}"


def _words(column: str) -> str:
    return column.replace("_", " ")


_PARTS = {"Curve": _curve, "Ledger": _ledger, "Images": _images, "Files": _files, "Repeat": _repeat}


main()
