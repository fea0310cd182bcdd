"""Take the data, the students and the methods text with you."""

import shlex
from dataclasses import replace
from typing import get_args

import numpy as np
import pyarrow as pa
import streamlit as st

from dashboard import frame
from dashboard.elements import table
from dashboard.frame import View
from dashboard.snapshot import cached, frozen
from raysys.errors import RaysysError
from raysys.figures.methods import methods_text
from raysys.figures.report import report_html
from raysys.records import TrialStatus
from raysys.store.citations import citations
from raysys.store.export import Format, Pick, What, encoded, export_table
from raysys.store.layout import RunLayout
from raysys.store.model_card import kept_students
from raysys.store.points import Kind, floats
from raysys.store.reader import Snapshot
from raysys.store.trial_list import KNEE, trial_list
from raysys.teacher.accounts import MOST_BYTES
from raysys.teacher.charges import charges_table, ledger_size

_SHOWN = 20

_WHATS: tuple[What, ...] = get_args(What)
_FORMATS: tuple[Format, ...] = get_args(Format)

_TOLD: dict[What, str] = {
    "trials": "one row a trial, one column a parameter",
    "front": "one row a point, with the columns of raysys front --json",
    "reports": "one row a point of a trial's curve",
    "ledger": "one row a request to the teacher",
}
_MIME: dict[Format, str] = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv"}


def main() -> None:
    """Draw the page."""
    view = frame.head("Export", "Take the data, the students and the methods text with you.")
    run = frozen(view.layout)  # a file says what the run looked for, whatever is looked at here
    _data(view, run)
    _students(run, view.layout)
    _report(run, view)
    _methods(run)


def _data(view: View, run: Snapshot) -> None:
    """One table of the run, whole or in part."""
    st.subheader("Data", anchor=False)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        what = st.segmented_control(
            "What", _WHATS, default="trials", key="what", bind="query-params", required=True
        )
        file_format = st.segmented_control(
            "Format", _FORMATS, default="parquet", key="format", bind="query-params", required=True
        )
    what, file_format = what or "trials", file_format or "parquet"
    layout, kind = view.layout, view.kind
    pick = _pick(view, run, what)
    st.caption(f"{what}: {_TOLD[what]}.")
    try:
        _preview(run, layout, what, pick, kind)
    except RaysysError as failure:
        st.error("It cannot be read.")
        st.code(str(failure), language=None)
        return
    name = f"{run.name}-{what}.{file_format}"
    st.download_button(
        f"Download {what} as {file_format}",
        data=lambda: encoded(_rows(run, layout, what, pick, kind), file_format),
        file_name=name,
        mime=_MIME[file_format],
        key="download",
        on_click="ignore",
    )
    st.caption("The same file by command:")
    st.code(_command(run, what, pick, kind, name), language=None, wrap_lines=True)


def _pick(view: View, run: Snapshot, what: What) -> Pick:
    """The part that is picked: the frame's limits if wanted, and statuses of trials."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        limited = st.toggle("Only within the limits of the sidebar", key="limited", bind="query-params")
        statuses = []
        if what != "front":
            names = [status.value for status in TrialStatus]
            statuses = st.multiselect(
                "Trials that are", names, key="export-states", bind="query-params", placeholder="in any state"
            )
    if not limited:
        return Pick(tuple(statuses))
    limits = view.limits
    if view.run.manifest.score != run.manifest.score and limits.score is not None:
        st.caption("The limit on the score is not applied: the run looked for another score.")
        limits = replace(limits, score=None)
    if limits == frame.Limits():
        st.caption("The sidebar sets no limit now.")
    return Pick(tuple(statuses), limits.queries, limits.seconds, limits.score)


def _rows(run: Snapshot, layout: RunLayout, what: What, pick: Pick, kind: Kind) -> pa.Table:
    return export_table(run, what, pick, kind, lambda: charges_table(layout.ledger, layout.filesystem))


def _preview(run: Snapshot, layout: RunLayout, what: What, pick: Pick, kind: Kind) -> None:
    """How many rows there are, and the first ones. Raises what reading the ledger raises."""
    if what == "ledger" and (size := cached(_ledger_size, run, layout)) > MOST_BYTES:
        st.text(f"The ledger has {size / 1e6:,.0f} MB; it is read when you download it.")
        return
    count, shown = cached(_first, run, layout, what, pick, kind)
    st.text(f"{count:,} rows, {shown.num_columns} columns")
    if count:
        table(shown, "preview", f"The first {shown.num_rows} of {count:,} rows of {what}.")
    else:
        st.info("No row is in this part of the run: the file will have its header only.")


def _first(run: Snapshot, layout: RunLayout, what: What, pick: Pick, kind: Kind) -> tuple[int, pa.Table]:
    """How many rows there are, and a copy of the first ones: a slice would keep them all in memory."""
    rows = _rows(run, layout, what, pick, kind)
    return rows.num_rows, rows.take(np.arange(min(_SHOWN, rows.num_rows)))


def _ledger_size(run: Snapshot, layout: RunLayout) -> int:
    return ledger_size(layout.ledger, layout.filesystem)


def _command(run: Snapshot, what: What, pick: Pick, kind: Kind, name: str) -> str:
    """What writes the same file."""
    words = ["raysys", "export", run.path, "--what", what]
    words += ["--kind", kind] if what == "front" and kind != "final" else []
    for status in pick.statuses:
        words += ["--status", status]
    limits = {"queries": pick.max_queries, "seconds": pick.max_seconds}
    for limit, value in limits.items():
        words += [] if value is None else [f"--max-{limit}", f"{value:.15g}"]
    words += [] if pick.min_score is None else ["--min-accuracy", f"{pick.min_score:.15g}"]
    return shlex.join([*words, "-o", name])


def _students(run: Snapshot, layout: RunLayout) -> None:
    """Which students there are, and how to take one."""
    st.subheader("Students", anchor=False)
    try:
        kept = cached(_kept, run, layout)
    except RaysysError as failure:
        st.error("The students cannot be listed.")
        st.code(str(failure), language=None)
        return
    if not kept.num_rows:
        st.info("No student is kept yet: those of the front are, once their trials have finished.")
        return
    table(kept, "students", f"The {kept.num_rows} students that are kept, by rising queries.")
    uid = st.selectbox("Student", cached(_by_score, run, layout), key="student", bind="query-params")
    st.caption("Weights (safetensors), config, and a model card that says how to load them:")
    words = ["raysys", "export", run.path, "--student", str(uid), "-o", f"{run.name}-{uid}"]
    st.code(shlex.join(words), language=None, wrap_lines=True)


def _kept(run: Snapshot, layout: RunLayout) -> pa.Table:
    kept = pa.array(kept_students(layout), pa.string())
    names = ["uid", "queries", "val_accuracy", "test_accuracy", "agreement", "test_agreement"]
    rows = pa.table({"uid": kept}).join(run.trials.select(names), "uid", join_type="inner")
    return rows.sort_by([("queries", "ascending"), ("uid", "ascending")])


def _by_score(run: Snapshot, layout: RunLayout) -> list[str]:
    """The students that are kept, those of the knee first, then by falling score."""
    rows, marks = cached(_kept, run, layout), cached(trial_list, run)
    front = dict(zip(marks["uid"].to_pylist(), marks["front"].to_pylist(), strict=True))
    scores = np.nan_to_num(floats(rows, run.manifest.score), nan=-np.inf)
    scored = sorted(zip(rows["uid"].to_pylist(), scores, strict=True), key=lambda one: -one[1])
    return sorted((uid for uid, _ in scored), key=lambda uid: front[uid] != KNEE)


def _report(run: Snapshot, view: View) -> None:
    """The static report, compared with what the frame compares with."""
    st.subheader("Report", anchor=False)
    others = tuple(frozen(view.layouts[other.name]) for other in view.others)
    st.caption("One file that opens offline, in any browser: front, best config per budget, spend, methods.")
    st.download_button(
        "Download the report",
        data=lambda: report_html(run, others),
        file_name=f"{run.name}-report.html",
        mime="text/html",
        key="download-report",
        on_click="ignore",
    )
    words = ["raysys", "report", run.path, *(other.path for other in others)]
    st.code(shlex.join([*words, "-o", f"{run.name}-report.html"]), language=None, wrap_lines=True)


def _methods(run: Snapshot) -> None:
    """What a paper or report says of the run."""
    st.subheader("Methods text", anchor=False)
    text = cached(methods_text, run)
    st.code(text, language=None, wrap_lines=True)
    references = citations(run.manifest)
    if references:
        st.caption("What it used, to cite:")
        st.code("\n".join(references), language=None, wrap_lines=True)
    whole = "\n\n".join([text, *references]) + "\n"
    st.download_button(
        "Download the text",
        data=whole,
        file_name=f"{run.name}-methods.txt",
        key="download-methods",
        on_click="ignore",
    )


main()
