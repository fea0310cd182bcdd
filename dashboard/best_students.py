"""The front of a run within the frame's limits, and the students that are best there."""

import json
import shlex
from math import inf
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st
import yaml
from pyarrow.fs import FileType

from dashboard import frame
from dashboard.elements import table
from dashboard.frame import View
from dashboard.snapshot import cached, cached_all
from raysys.figures.looks import text
from raysys.files import file_info
from raysys.fronts.attainment import best_within, cheapest_with
from raysys.fronts.front import Front
from raysys.fronts.objectives import TESTED
from raysys.store.budgets import compared_fronts
from raysys.store.points import Kind, front_table, front_within, member_uids, run_front
from raysys.store.reader import Snapshot

Within = tuple[float | None, float | None, float | None]
"""At most so many queries, at least that score, at most so many seconds."""

_CONFIG_LINES, _CONFIG_HEIGHT = 8, 220


def limited_front(
    run: Snapshot, kind: Kind, max_queries: float | None, min_score: float | None, max_seconds: float | None
) -> Front:
    """The front within limits."""
    return front_within(run, cached(run_front, run, kind), kind, max_queries, min_score, max_seconds)


def limited_table(
    run: Snapshot, kind: Kind, max_queries: float | None, min_score: float | None, max_seconds: float | None
) -> pa.Table:
    """The members of the front within limits."""
    return front_table(run, cached(limited_front, run, kind, max_queries, min_score, max_seconds), kind)


def best_card(view: View, front: Front, within: Within) -> None:
    """The best and the cheapest student within the limits, and how to get them."""
    score = within[1]
    rows = {int(member): row for row, member in enumerate(front.members)}
    found = {f"Best {text(view.run.manifest.score)}": best_within(front, inf)}
    if score is not None:
        found[f"Cheapest that reaches {score:.1%}"] = cheapest_with(front, score)
    elif front.knee in rows:
        found["Knee"] = front.knee
    titles: dict[int, str] = {}
    for title, member in found.items():
        if member is not None:
            titles[member] = f"{titles[member]}, and {title.lower()}" if member in titles else title
    with st.container(border=True):
        st.subheader("Best under my limits", anchor=False)
        st.text(f"Of run {view.run.name}:")
        if view.limits == frame.Limits():
            st.caption("No limits are set: give them in the sidebar.")
        form = st.segmented_control(
            "Config as", ["YAML", "JSON"], default="YAML", key="config-form", bind="query-params",
            required=True,
        )  # fmt: skip
        shown: dict[str, object] = {}
        for column, (member, title) in zip(st.columns(len(titles)), titles.items(), strict=True):
            with column:
                st.markdown(f"**{title}**")
                uid = _student(view, rows[member], within)
                config = _config(view.run, uid)
                if config is not None:
                    _show_config(config, shown, form or "YAML")
                    shown = shown or config


def _student(view: View, row: int, within: Within) -> str:
    """A point of the card, and its students that are kept; the uid that names it."""
    run = view.run
    point = cached(limited_table, run, view.kind, *within).slice(row, 1).to_pylist()[0]
    spread = f" ± {100 * point['score_std']:.2f}" if point["score_std"] is not None else ""
    cost = f", {point['cost']:,.2f} USD" if "cost" in point else ""
    seeds = f"mean of {point['seeds']} seeds" if point["seeds"] > 1 else "1 seed"
    uid = str(point["uid"])
    st.text(
        f"{uid}: {point['score']:.2%}{spread} for {point['queries']:,.0f} queries{cost}, "
        f"{point['seconds']:,.0f} s; {seeds}"
    )
    if view.kind == "anytime":
        st.code(_repeat(run, uid), language="bash", wrap_lines=True)
        st.caption("This is a moment of the trial: repeated, it goes on to its end.")
        return uid
    uids = cached(_uids, run, view.kind, *within)[row]
    kept = [one for one in uids if _is_kept(view, one)]
    for one in kept or [uid]:
        if len(uids) > 1:
            st.text(f"{one}, this student: {_own(run, one)}")
        export = f"raysys export {shlex.quote(run.path)} --student {one} -o student-{one}"
        commands = [_repeat(run, one), *([export] if one in kept else [])]
        st.code("\n".join(commands), language="bash", wrap_lines=True)
    if len(kept) < len(uids):
        st.caption(f"Weights are kept of {len(kept)} of {len(uids)} of its students.")
    return uid


def _uids(
    run: Snapshot, kind: Kind, max_queries: float | None, min_score: float | None, max_seconds: float | None
) -> list[list[str]]:
    """The trials of each member of the front within limits."""
    return member_uids(run, cached(limited_front, run, kind, max_queries, min_score, max_seconds), kind)


def _repeat(run: Snapshot, uid: str) -> str:
    return f"raysys trial --from {shlex.quote(f'{run.path}:{uid}')}"


def _is_kept(view: View, uid: str) -> bool:
    return bool(file_info(view.layout.filesystem, view.layout.students(uid)).type is FileType.Directory)


def _own(run: Snapshot, uid: str) -> str:
    """What one trial reached by itself."""
    score = run.manifest.score
    row = run.trials.filter(pc.equal(run.trials["uid"], uid)).to_pylist()[0]
    tested = row[TESTED[score]]
    on_test = "" if tested is None else f", {tested:.2%} on test"
    return f"{row[score]:.2%}{on_test}, {row['queries']:,} queries"


def _config(run: Snapshot, uid: str) -> dict[str, object] | None:
    """The options of a trial; None where its row is lost, which is told."""
    trial = run.trials.filter(pc.equal(run.trials["uid"], uid))
    if trial.num_rows:
        options: dict[str, object] = json.loads(trial["config"][0].as_py())
        return options
    st.info("The row of this trial is lost with a damaged table: its reports are left, its config is not.")
    return None


def _show_config(config: dict[str, object], other: dict[str, object], form: str) -> None:
    """A config; of a second one, what differs from the `other` that is shown."""
    if other:
        st.caption("Its config is that beside it, except for:")
        config = {name: value for name, value in config.items() if other.get(name) != value}
    shown = yaml.safe_dump(config, allow_unicode=True) if form == "YAML" else json.dumps(config, indent=2)
    height: int | Literal["content"] = _CONFIG_HEIGHT if len(config) > _CONFIG_LINES else "content"
    st.code(shown.rstrip(), language=form.lower(), height=height)


def beside(view: View, within: Within) -> None:
    """The best student of each run that is compared."""
    runs, _ = cached_all(compared_fronts, view.runs)
    if len(runs) < 2:
        return
    st.subheader("Within the same limits", anchor=False)
    words = text(view.run.manifest.score)
    table(
        cached_all(_best_students, runs, view.kind, *within),
        "beside-table",
        f"The best {words} within the limits of each of {len(runs)} runs.",
        column_config={
            "queries": st.column_config.NumberColumn("queries ↓", format="localized"),
            "score": st.column_config.NumberColumn(f"best {words} ↑", format="percent"),
            "score_std": st.column_config.NumberColumn("± std", format="percent"),
        },
    )
    st.caption(
        "Without a uid: the run has no point within the limits. Numbers are means over a point's seeds."
    )


def _best_students(
    runs: tuple[Snapshot, ...],
    kind: Kind,
    max_queries: float | None,
    min_score: float | None,
    max_seconds: float | None,
) -> pa.Table:
    """The best point of each run within limits."""
    rows = []
    for run in runs:
        limits = (max_queries, min_score, max_seconds)
        front = cached(limited_front, run, kind, *limits)
        best = best_within(front, inf)
        points = cached(limited_table, run, kind, *limits).filter(pa.array(front.members == best))
        rows += [{"run": run.name, **point} for point in points.to_pylist() or [{}]]
    types = {"run": pa.string(), "uid": pa.string(), "score": pa.float64(), "score_std": pa.float64()}
    return pa.Table.from_pylist(
        rows, schema=pa.schema({**types, "seeds": pa.int64(), "queries": pa.float64()})
    )
