"""The frame of every page: which run, compared with which, by which objectives and within which limits.

All of it is in the address, so that a link shows the same view.
"""

from dataclasses import dataclass, replace
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import snapshot
from raysys.errors import RaysysError
from raysys.fronts.objectives import QUERIES, SECONDS, TESTED, Objective
from raysys.store.layout import RunLayout
from raysys.store.manifest import read_manifest
from raysys.store.points import Kind
from raysys.store.reader import Snapshot

MOST_COMPARED, MOST_PINNED = 8, 12

_ALL, _SEARCHED = "all spaces", "as searched"

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

    `pins`: uids of the picked run that follow from page to page. `layouts`: the runs to pick from.
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
    known, missing = st.session_state.get("view"), _missing(layouts)
    asked_pins = [] if known or missing else st.query_params.get_all("pin")
    spaces = {name: _space(layout) for name, layout in layouts.items()}
    layouts = _of_space(layouts, spaces)
    layout = layouts[_picked(list(layouts))]
    others = side.multiselect(
        "Compare with",
        [other for other in layouts if other != layout.name],
        key="vs",
        bind="query-params",
        max_selections=MOST_COMPARED,
        placeholder="other runs",
        help=f"At most {MOST_COMPARED} runs, drawn beside the picked one where a page compares.",
    )
    whole = run = snapshot.frozen(layout)
    limits = side.container(gap="small")
    kind = side.segmented_control(
        "Front over",
        list(_KINDS),
        default="finished trials",
        key="front",
        bind="query-params",
        required=True,
        help="Finished trials have a student to deploy. All reports: also what a trial had on its way.",
    )
    run = _by(run, _objectives(run))
    pins = side.multiselect(
        "Pinned trials",
        run.trials["uid"].to_pylist(),
        key="pin",
        bind="query-params",
        max_selections=MOST_PINNED,
        placeholder="none",
        help=f"At most {MOST_PINNED} trials of this run, which follow from page to page.",
    )
    unreadable = [name for name, space in spaces.items() if space is None]
    missing += [
        f"{layout.name} has no trial {uid}, which was pinned." for uid in asked_pins if uid not in pins
    ]
    if missing:
        st.session_state["missing"] = [*missing, f"{layout.name} is shown."]
    if unreadable:
        side.text(f"Cannot be read: {', '.join(unreadable)}")
    compared = _readable([layouts[other] for other in others])
    st.session_state["held"] = whole, *compared  # with their own objectives, so that none is read again
    st.session_state["view"] = View(
        run=run,
        layout=layout,
        others=tuple(_by(one, run.manifest.objectives) for one in compared),
        kind=_KINDS[kind or "finished trials"],
        limits=_limits(run, limits),
        pins=tuple(pins),
        layouts=layouts,
    )


def tell_missing() -> None:
    """Say what the address named, or was looked at before, and is not there, until a run is picked."""
    if missing := st.session_state.get("missing"):
        with st.container(horizontal=True, wrap=False, gap="small"):
            st.badge("not found", icon=":material/search_off:", color="orange")
            st.text(" ".join(missing), width="stretch")


def _missing(layouts: dict[str, RunLayout]) -> list[str]:
    """To be asked before the controls are drawn: they take what is not there out of the address."""
    view: View | None = st.session_state.get("view")
    if view is not None:
        before = [one.name for one in view.runs if one.name not in layouts]
        return [f"The run {name} is gone: it was deleted, or moved out of this storage." for name in before]
    asked = [*st.query_params.get_all("run")[:1], *st.query_params.get_all("vs")]
    return [f"There is no run {name} in this storage." for name in asked if name not in layouts]


def link() -> None:
    """Draw the address of what is shown, to be copied; after the page, whose controls are in it, too."""
    # The run is named even where an address that named another was mended.
    query = {name: st.query_params.get_all(name) for name in st.query_params}
    query["run"] = [current().layout.name]
    with st.sidebar.popover("Copy link", icon=":material/link:", width="stretch"):
        st.code(f"{st.context.url}?{urlencode(query, doseq=True)}", language=None, wrap_lines=True)


def _of_space(layouts: dict[str, RunLayout], spaces: dict[str, str | None]) -> dict[str, RunLayout]:
    """The runs of the picked space, where there are several."""
    known = sorted({space for space in spaces.values() if space is not None})
    if len(known) < 2:
        return layouts
    picked = st.sidebar.selectbox("Space", [_ALL, *known], key="space", bind="query-params")
    return {name: layout for name, layout in layouts.items() if picked in (_ALL, spaces[name])}


def _space(layout: RunLayout) -> str | None:
    """Name of the space that a run searches; None where its manifest cannot be read."""
    try:
        return _named_space(layout.location, layout)
    except RaysysError:
        return None


@st.cache_data(max_entries=10_000, show_spinner=False)
def _named_space(location: str, _layout: RunLayout) -> str:
    """A run keeps its space, so `location` is the key."""
    del location
    return str(read_manifest(_layout).space.get("name", ""))


def _picked(names: list[str]) -> str:
    """The picked run: what the address names, else the last changed."""
    state = st.session_state
    if state.get("run") not in names and st.query_params.get("run") not in names:
        if "run" not in state:  # not bound yet, so the address can be written
            st.query_params["run"] = names[0]
        look_at(names[0])
    # Without a default, a selectbox always is in the address: a link keeps its run when another comes.
    name: str | None = st.sidebar.selectbox(
        "Run",
        names,
        index=None,
        required=True,
        key="run",
        bind="query-params",
        on_change=lambda: look_at(state["run"]),
    )
    return name or names[0]


def look_at(name: str) -> None:
    """Pick the run `name`; for callbacks. Pins are trials of one run, and none is compared with itself."""
    state = st.session_state
    state.pop("missing", None)
    if "run" in state:
        state["pin"] = []
        state["vs"] = [other for other in state.get("vs", []) if other != name]
    state["run"] = name


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
    own = run.manifest.objectives
    scores = [name for name in TESTED if run.trials[name].null_count < run.trials.num_rows]
    with st.sidebar.expander("Objectives"):
        score = st.selectbox(
            "Score",
            [_SEARCHED, *scores],
            key="score",
            bind="query-params",
            format_func=_words,
            help=f"What shall be high. This run searched for {_words(run.manifest.score)}.",
        )
        third = st.selectbox(
            "Beside queries",
            [_SEARCHED, "none", SECONDS.name],
            key="third",
            bind="query-params",
            help=f"What else shall be low. It searched by {', '.join(_words(one.name) for one in own)}.",
        )
    timed = third == SECONDS.name or (third != "none" and SECONDS.name in {one.name for one in own})
    name = run.manifest.score if score in (None, _SEARCHED) else score
    return (Objective(name, "maximize"), QUERIES, *([SECONDS] if timed else []))


def _by(run: Snapshot, objectives: tuple[Objective, ...]) -> Snapshot:
    """The run as if it had these objectives; unchanged where it has them."""
    if {one.name for one in run.manifest.objectives} == {one.name for one in objectives}:
        return run
    return replace(run, manifest=run.manifest.model_copy(update={"objectives": objectives}))


def _limits(run: Snapshot, into: DeltaGenerator) -> Limits:
    price = run.manifest.price
    rows = (*into.columns(2), *into.columns(2))
    queries = rows[0].number_input(
        "Max queries", min_value=1, value=None, step=100, key="max-queries", bind="query-params",
        help="Images that the teacher answers. Limits are lines in the charts, and filter the front.",
    )  # fmt: skip
    score = rows[1].number_input(
        "Min score (%)", min_value=0.0, max_value=100.0, value=None, step=1.0, format="%g",
        key="min-score", bind="query-params", help=f"The least {_words(run.manifest.score)} of a student.",
    )  # fmt: skip
    hours = rows[2].number_input(
        "Max hours", min_value=0.0, value=None, format="%g", key="max-hours", bind="query-params",
        help="Hours that one trial worked.",
    )  # fmt: skip
    cost = (
        rows[3].number_input(
            "Max cost ($)", min_value=0.0, value=None, format="%g", key="max-cost", bind="query-params",
            help=f"USD for the queries of one trial, at {price:g} a query.",
        )
        if price
        else None
    )  # fmt: skip
    bounds = [queries, cost / price if cost is not None and price else None]
    return Limits(
        queries=min((float(bound) for bound in bounds if bound is not None), default=None),
        seconds=None if hours is None else 3600 * float(hours),
        score=None if score is None else float(score) / 100,
    )


def _words(name: str) -> str:
    return name.replace("_", " ")
