"""The frame of every page: which run, compared with which, by which objectives and within which limits.

All of it is in the address, so that a link shows the same view.
"""

from dataclasses import dataclass, replace

import streamlit as st

from dashboard import snapshot
from raysys.errors import RaysysError
from raysys.fronts.objectives import QUERIES, SECONDS, TESTED, Objective
from raysys.store.layout import RunLayout
from raysys.store.points import Kind
from raysys.store.reader import Snapshot

MOST_COMPARED, MOST_PINNED = 8, 12

_KINDS: dict[str, Kind] = {"finished trials": "final", "all reports": "anytime"}


@dataclass(frozen=True)
class Limits:
    """What a student may cost and must reach; None: no limit. Lines in the charts, and filters of the front.

    `queries` in images (the lower of the limits on queries and on cost), `seconds` of work of a trial,
    `score` in [0, 1].
    """

    queries: float | None = None
    seconds: float | None = None
    score: float | None = None


@dataclass(frozen=True)
class View:
    """What the frame says. The snapshots have the objectives that were picked in it.

    `pins`: uids of the picked run that follow from page to page. `layouts`: all runs of the storage by name.
    """

    run: Snapshot
    layout: RunLayout
    others: tuple[Snapshot, ...]
    kind: Kind
    limits: Limits
    pins: tuple[str, ...]
    layouts: dict[str, RunLayout]

    @property
    def runs(self) -> tuple[Snapshot, ...]:
        """The picked run and those that it is compared with."""
        return (self.run, *self.others)


def current() -> View:
    """What the frame of this page says."""
    view: View = st.session_state["view"]
    return view


def head(title: str, decision: str) -> View:
    """The head of a page, with what one decides by it; returns what the frame says."""
    st.header(title, anchor=False)
    st.caption(decision)
    return current()


def sidebar(layouts: dict[str, RunLayout]) -> None:
    """Draw the controls; afterwards `current` knows what they say. Raises what reading a run raises."""
    side = st.sidebar
    name = side.selectbox("Run", list(layouts), key="run", bind="query-params")
    layout = layouts[name or next(iter(layouts))]
    others = side.multiselect(
        "Compare with",
        [other for other in layouts if other != layout.name],
        key="vs",
        bind="query-params",
        max_selections=MOST_COMPARED,
        placeholder="other runs",
    )
    run = snapshot.frozen(layout)
    kind = side.segmented_control(
        "Front over", list(_KINDS), default="finished trials", key="front", bind="query-params", required=True
    )
    objectives = _objectives(run)
    limits = _limits(run)
    uids = run.trials["uid"].to_pylist()
    pins = side.multiselect(
        "Pinned trials", uids, key="pin", bind="query-params", max_selections=MOST_PINNED, placeholder="none"
    )
    st.session_state["view"] = View(
        run=_by(run, objectives),
        layout=layout,
        others=tuple(_by(one, objectives) for one in _readable([layouts[other] for other in others])),
        kind=_KINDS[kind or "finished trials"],
        limits=limits,
        pins=tuple(pins),
        layouts=layouts,
    )


def _readable(layouts: list[RunLayout]) -> list[Snapshot]:
    """The runs to compare with, without those that cannot be read, which is told."""
    found = []
    for layout in layouts:
        try:
            found.append(snapshot.frozen(layout))
        except RaysysError as failure:
            st.sidebar.warning("A run to compare with cannot be read.")
            st.sidebar.code(str(failure), language=None)
    return found


def _objectives(run: Snapshot) -> tuple[Objective, ...]:
    """The run's own objectives, unless others are picked."""
    scores = [name for name in TESTED if run.trials[name].null_count < run.trials.num_rows]
    own = run.manifest.score
    names = [own, *(name for name in scores if name != own)]
    thirds = ["none", SECONDS.name]
    timed = any(one.name == SECONDS.name for one in run.manifest.objectives)
    with st.sidebar.expander("Objectives"):
        score = st.selectbox(
            "Score (more is better)", names, key="score", bind="query-params", format_func=_words
        )
        third = st.selectbox(
            "Third objective (less is better)",
            thirds[::-1] if timed else thirds,
            key="third",
            bind="query-params",
            format_func=_words,
        )
    return (
        Objective(score or own, "maximize"),
        QUERIES,
        *([SECONDS] if third == SECONDS.name else []),
    )


def _by(run: Snapshot, objectives: tuple[Objective, ...]) -> Snapshot:
    """The run as if it had these objectives; unchanged where it has them."""
    if {one.name for one in run.manifest.objectives} == {one.name for one in objectives}:
        return run
    return replace(run, manifest=run.manifest.model_copy(update={"objectives": objectives}))


def _limits(run: Snapshot) -> Limits:
    price = run.manifest.price
    with st.sidebar.expander("Limits"):
        queries = st.number_input(
            "Most queries", min_value=1, value=None, step=100, key="max-queries", bind="query-params"
        )
        cost = (
            st.number_input(
                "Most cost (USD)", min_value=0.0, value=None, key="max-cost", bind="query-params", format="%g"
            )
            if price
            else None
        )
        hours = st.number_input(
            "Most hours of a trial", min_value=0.0, value=None, key="max-hours", bind="query-params",
            format="%g",
        )  # fmt: skip
        score = st.number_input(
            f"Least {_words(run.manifest.score)} (%)", min_value=0.0, max_value=100.0, value=None, step=1.0,
            key="min-score", bind="query-params", format="%g",
        )  # fmt: skip
    bounds = [queries, cost / price if cost is not None and price else None]
    return Limits(
        queries=min((float(bound) for bound in bounds if bound is not None), default=None),
        seconds=None if hours is None else 3600 * float(hours),
        score=None if score is None else float(score) / 100,
    )


def _words(name: str) -> str:
    return name.replace("_", " ")
