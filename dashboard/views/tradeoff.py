"""What accuracy (or agreement) costs in queries: which operating point to deploy."""

import json
import shlex
from collections.abc import Iterable
from math import inf
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st
import yaml
from pyarrow.fs import FileType

from dashboard import frame
from dashboard.elements import chart, table
from dashboard.frame import View
from dashboard.snapshot import cached, cached_all
from raysys.figures.front import front_alt
from raysys.figures.looks import text
from raysys.figures.tradeoff import Look, front_3d, tradeoff_figure
from raysys.files import file_info
from raysys.fronts.attainment import best_within, cheapest_with
from raysys.fronts.front import Front
from raysys.fronts.objectives import TESTED
from raysys.store.budgets import compared_fronts
from raysys.store.export import Pick, encoded, front_export
from raysys.store.points import Kind, front_table, front_within, member_uids, run_front, varying_parameters
from raysys.store.reader import Snapshot

_SHARES = {
    "all": 1.0,
    "top 50 %": 0.5,
    "top 20 %": 0.2,
    "top 10 %": 0.1,
    "top 5 %": 0.05,
    "top 1 %": 0.01,
    "front only": 0.0,
}

Within = tuple[float | None, float | None, float | None]
"""At most so many queries, at least that score, at most so many seconds."""

_CONFIG_LINES, _CONFIG_HEIGHT = 8, 220


def main() -> None:
    """Draw the page."""
    view = frame.head("Trade-off", "Which operating point to deploy.")
    limits = view.limits
    within = (limits.queries, limits.score, limits.seconds)
    front = cached(tradeoff_front, view.run, view.kind, *within)
    _chart(view, within)
    _stated(view, front)
    if not len(front.members):
        st.text(f"Run {view.run.name}:")
        whole = len(cached(run_front, view.run, view.kind).members)
        st.info(
            f"None of the {whole} points of the front is within the limits: widen them in the sidebar."
            if whole
            else "There is no front yet: no trial that counts has finished with a score. "
            "While trials run, choose 'all reports' in the sidebar."
        )
        _beside(view, within)
        return
    _card(view, front, within)
    _beside(view, within)
    _table(view, within)


def tradeoff_front(
    run: Snapshot, kind: Kind, max_queries: float | None, min_score: float | None, max_seconds: float | None
) -> Front:
    """The front within limits."""
    return front_within(run, cached(run_front, run, kind), kind, max_queries, min_score, max_seconds)


def tradeoff_table(
    run: Snapshot, kind: Kind, max_queries: float | None, min_score: float | None, max_seconds: float | None
) -> pa.Table:
    """The members of the front within limits."""
    return front_table(run, cached(tradeoff_front, run, kind, max_queries, min_score, max_seconds), kind)


def _chart(view: View, within: Within) -> None:
    three = len(view.run.manifest.objectives) == 3
    form = "2D"
    if three:
        form = st.segmented_control(
            "Chart", ["2D", "3D"], default="2D", key="dimensions", bind="query-params", required=True
        )
    if form == "3D":
        figure = cached(front_3d, view.run, view.kind, *within)
        if figure.data:
            chart(figure, "front-3d-chart", cached(front_alt, view.run, view.kind, *within))
        st.caption("A point in three dimensions cannot be clicked: pick a trial in the table below.")
        return
    look = _look(view)
    runs, refused = cached_all(compared_fronts, view.runs)
    figure = cached_all(tradeoff_figure, runs, view.kind, *within, look)
    if not figure.data:
        return
    alt = cached(front_alt, view.run, view.kind, *within)
    picked = chart(figure, "front-chart", alt, on_select="rerun", selection_mode="points")
    # A point of another run's front has no uid of this one, a bar of a histogram has none at all.
    told = [point.get("customdata") for point in picked["selection"]["points"]]
    _go_to(uid for uid, *_ in filter(None, told) if uid)
    if three:
        st.caption("The front has three objectives: points of it below the line are faster ones.")
    if within[2] is not None:
        st.caption(f"The front is that of the points with at most {within[2] / 3600:g} hours of work.")
    if refused:
        st.warning("Runs whose fronts cannot be compared with this one are left out.")
        st.code("\n".join(refused), language=None, wrap_lines=True)


def _look(view: View) -> Look:
    """The controls of the chart."""
    line = st.container(horizontal=True, vertical_alignment="bottom")
    shown = line.selectbox("Points", list(_SHARES), key="points", bind="query-params", width=150)
    parameters = cached(varying_parameters, view.run)
    colour = line.selectbox("Colour by", ["none", *parameters], key="colour", bind="query-params", width=220)
    robust = line.toggle("Robust range", key="robust", bind="query-params")
    margins = line.toggle("Histograms", key="histograms", bind="query-params")
    linear = line.toggle("Linear queries", key="linear", bind="query-params")
    return Look(
        share=_SHARES[shown or "all"],
        colour=colour if colour in parameters else None,
        robust=robust,
        linear=linear,
        margins=margins,
        pins=view.pins,
    )


def _stated(view: View, front: Front) -> None:
    """What the hypervolume is, from where it is measured, and what is left out."""
    manifest = view.run.manifest
    name, reference = text(manifest.score), manifest.reference
    left_out = [
        f"{front.excluded} without a finite value left out" if front.excluded else "",
        f"{front.outside} beyond the space's own limits" if front.outside else "",
    ]
    st.caption(
        f"Hypervolume of the whole front {front.hypervolume:.4f} of at most 1, above the reference point "
        f"{reference.accuracy:.1%} {name} at {reference.queries:,} queries. "
        f"{len(front.points.first):,} points, {len(front.members)} of them on the front"
        + (" within the limits" if view.limits != frame.Limits() else "")
        + "".join(f"; {one}" for one in left_out if one)
        + "."
    )


def _card(view: View, front: Front, within: Within) -> None:
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
    point = cached(tradeoff_table, run, view.kind, *within).slice(row, 1).to_pylist()[0]
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
    uids = cached(tradeoff_uids, run, view.kind, *within)[row]
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


def tradeoff_uids(
    run: Snapshot, kind: Kind, max_queries: float | None, min_score: float | None, max_seconds: float | None
) -> list[list[str]]:
    """The trials of each member of the front within limits."""
    return member_uids(run, cached(tradeoff_front, run, kind, max_queries, min_score, max_seconds), kind)


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


def _beside(view: View, within: Within) -> None:
    """The best student of each run that is compared."""
    runs, _ = cached_all(compared_fronts, view.runs)
    if len(runs) < 2:
        return
    st.subheader("Within the same limits", anchor=False)
    words = text(view.run.manifest.score)
    table(
        cached_all(best_students, runs, view.kind, *within),
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


def best_students(
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
        front = cached(tradeoff_front, run, kind, *limits)
        best = best_within(front, inf)
        points = cached(tradeoff_table, run, kind, *limits).filter(pa.array(front.members == best))
        rows += [{"run": run.name, **point} for point in points.to_pylist() or [{}]]
    types = {"run": pa.string(), "uid": pa.string(), "score": pa.float64(), "score_std": pa.float64()}
    return pa.Table.from_pylist(
        rows, schema=pa.schema({**types, "seeds": pa.int64(), "queries": pa.float64()})
    )


def _table(view: View, within: Within) -> None:
    """The front as a table; a row leads to its trial."""
    rows = cached(tradeoff_table, view.run, view.kind, *within)
    st.subheader("The front", anchor=False)
    st.caption("Pick a row to open its trial. Numbers are means over the seeds of a point.")
    words = text(view.run.manifest.score)
    known = [name for name in rows.column_names if rows[name].null_count < rows.num_rows]
    event = table(
        rows.select(known),
        "front-table",
        cached(front_alt, view.run, view.kind, *within),
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "cost": st.column_config.NumberColumn("USD", format="%.2f"),
            "queries": st.column_config.NumberColumn("queries ↓", format="localized"),
            "score": st.column_config.NumberColumn(f"{words} ↑", format="percent"),
            "score_std": st.column_config.NumberColumn("± std", format="percent"),
            "test": st.column_config.NumberColumn("on test", format="percent"),
            "test_std": st.column_config.NumberColumn("± std of test", format="percent"),
            "seconds": st.column_config.NumberColumn("seconds ↓", format="%.1f"),
        },
    )
    _go_to(rows["uid"][row].as_py() for row in event["selection"]["rows"])
    st.download_button(
        "Download as CSV",
        data=lambda: _csv(view, within),
        file_name=f"{view.run.name}-front.csv",
        mime="text/csv",
        on_click="ignore",
        key="front-csv",
    )


def _csv(view: View, within: Within) -> bytes:
    """What `raysys export --what front` writes of this part."""
    queries, score, seconds = within
    return encoded(front_export(view.run, Pick((), queries, seconds, score), view.kind), "csv")


def _go_to(uids: Iterable[str]) -> None:
    """Open the trial page of the first of them, if there is one."""
    for uid in uids:
        st.switch_page("views/trial.py", query_params={"trial": uid})


main()
