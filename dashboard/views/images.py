"""Whether the generator collapsed, and what it shows the teacher."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import streamlit as st

from dashboard import frame, pictures
from dashboard.elements import table
from dashboard.frame import View
from dashboard.snapshot import cached
from raysys.errors import RaysysError
from raysys.files import list_folder
from raysys.oracle import Response
from raysys.store.pairs import has_pairs, read_labels, read_some_pairs
from raysys.store.pictures import answers_sheet, png, sheet_steps
from raysys.store.reader import Snapshot
from raysys.store.trial_list import FRONT, KNEE, trial_list

_SHEETS, _ASKED = 6, 60  # on a page


def main() -> None:
    """Draw the page."""
    view = frame.head("Images", "Whether the generator collapsed, and what it shows the teacher.")
    try:
        _draw(view)
    except RaysysError as failure:
        st.error("A file of this run cannot be read.")
        st.code(str(failure), language=None)


def _draw(view: View) -> None:
    uids = cached(_shown_first, view.run)
    if not uids:
        st.info("No trial has begun yet. Its images appear here once it has asked: wait, then refresh.")
        return
    line = st.columns(2)
    uid = line[0].selectbox("Trial", uids, key="images", bind="query-params") or uids[0]
    beside = line[1].selectbox(
        "Beside it", uids, index=None, key="images-beside", bind="query-params", placeholder="no other trial"
    )
    picked = [uid] if beside in (None, uid) else [uid, beside]
    _made(view, picked)
    _asked(view, picked)


def _shown_first(run: Snapshot) -> list[str]:
    """All uids: the knee's first, then the front's, each with sheets before those without."""
    layout = frame.current().layout
    have = {info.base_name for info in list_folder(layout.filesystem, layout.samples)}
    trials = cached(trial_list, run, "final")
    marks = dict(zip(trials["uid"].to_pylist(), trials["front"].to_pylist(), strict=True))
    rank = {KNEE: 0, FRONT: 1}
    return sorted(marks, key=lambda uid: (uid not in have, rank.get(marks[uid] or "", 2), uid))


def _made(view: View, uids: Sequence[str]) -> None:
    """What the generators made, step by step."""
    st.subheader("What the generator makes", anchor=False)
    known = {uid: sheet_steps(view.layout, uid) for uid in uids}
    every = sorted({step for steps in known.values() for step in steps})
    if not every:
        st.info(pictures.NO_SHEETS)
        return
    pages = -(-len(every) // _SHEETS)
    page = st.pagination(pages, key="sheet-page", bind="query-params") if pages > 1 else 1
    start = (min(page, pages) - 1) * _SHEETS
    steps = every[start : start + _SHEETS]
    st.caption(
        f"Steps {steps[0]} to {steps[-1]}: {len(steps)} of {len(every)} sheets, 64 images each at most."
    )
    if len(uids) == 1:
        pictures.sheets(view.layout, uids[0], steps)
        return
    for step in steps:
        for uid, column in zip(uids, st.columns(len(uids)), strict=True):
            with column:
                st.text(uid)
                if step in known[uid]:
                    pictures.sheets(view.layout, uid, [step])
                else:
                    st.text(f"no sheet of step {step}")


def _asked(view: View, uids: Sequence[str]) -> None:
    """What was really asked, with the teacher's answers."""
    st.subheader("What it asked the teacher", anchor=False)
    kept = [uid for uid in uids if has_pairs(view.layout, uid)]
    for uid in uids:
        if uid not in kept:
            st.text(uid)
            st.info(
                "The images that a trial asked are kept beside its student, and of this trial none is kept."
            )
    if not kept:
        return
    labels = {uid: read_labels(view.layout, uid) for uid in kept}
    classes = sorted({int(label) for own in labels.values() for label in np.unique(own)})
    picked = st.selectbox(
        "Class that the teacher told", classes, index=None, key="class", bind="query-params",
        placeholder="all classes", width=260,
    )  # fmt: skip
    rows = {uid: np.flatnonzero((own == picked) | (picked is None)) for uid, own in labels.items()}
    pages = max(1, -(-max(map(len, rows.values())) // _ASKED))
    page = st.pagination(pages, key="asked-page", bind="query-params") if pages > 1 else 1
    start = (min(page, pages) - 1) * _ASKED
    for uid in kept:
        _answers(view, uid, rows[uid], start)
        _diversity(view, uid, labels[uid])


def _answers(view: View, uid: str, rows: npt.NDArray[np.int64], start: int) -> None:
    """One page of what a trial asked."""
    st.text(uid)
    shown = rows[start : start + _ASKED]
    if not len(shown):
        st.info("Nothing that it asked is on this page, with this class.")
        return
    images, response = read_some_pairs(view.layout, uid, shown.tolist())
    st.caption(
        f"{start + 1:,} to {start + len(shown):,} of {len(rows):,} images, in the order of asking, each over "
        f"the teacher's label{'' if response.probabilities is None else ' and its probability'}."
    )
    st.image(
        png(answers_sheet(images, response)),
        output_format="PNG",
        alt=f"{len(shown)} images that trial {uid} asked, each over the teacher's label: {_told(response)}.",
    )


def _told(response: Response) -> str:
    return ", ".join(map(str, response.labels.tolist()))


def _diversity(view: View, uid: str, labels: npt.NDArray[np.int64]) -> None:
    """How the answers spread over the classes: few of them are a sign of collapse."""
    classes, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    task = view.run.manifest.space.get("task")
    known = f" of {task['num_classes']}" if isinstance(task, dict) and "num_classes" in task else ""
    st.text(
        f"{len(classes)}{known} classes appear among {len(labels):,} answers; the most frequent, "
        f"{classes[order[0]]}, has {counts.max() / len(labels):.0%} of them."
    )
    table(
        pa.table({"class": classes[order], "answers": counts[order], "share": counts[order] / len(labels)}),
        f"classes-{uid}-table",
        f"How often the teacher told each of {len(classes)} classes to trial {uid}.",
        column_config={"share": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)},
    )


main()
