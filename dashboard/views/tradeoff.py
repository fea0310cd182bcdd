"""What accuracy (or agreement) costs in queries: which operating point to deploy."""

from collections.abc import Iterable

import streamlit as st

from dashboard import frame
from dashboard.best_students import Within, beside, best_card, limited_front, limited_table
from dashboard.elements import chart, table
from dashboard.frame import View
from dashboard.snapshot import cached, cached_all
from raysys.figures.front import front_alt
from raysys.figures.looks import text
from raysys.figures.tradeoff import Look, front_3d, tradeoff_figure
from raysys.fronts.front import Front
from raysys.store.budgets import compared_fronts
from raysys.store.export import Pick, encoded, front_export
from raysys.store.points import run_front, varying_parameters

_SHARES = {
    "all": 1.0,
    "top 50 %": 0.5,
    "top 20 %": 0.2,
    "top 10 %": 0.1,
    "top 5 %": 0.05,
    "top 1 %": 0.01,
    "front only": 0.0,
}


def main() -> None:
    """Draw the page."""
    view = frame.head("Trade-off", "Which operating point to deploy.")
    limits = view.limits
    within = (limits.queries, limits.score, limits.seconds)
    front = cached(limited_front, view.run, view.kind, *within)
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
        beside(view, within)
        return
    best_card(view, front, within)
    beside(view, within)
    _table(view, within)


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


def _table(view: View, within: Within) -> None:
    """The front as a table; a row leads to its trial."""
    rows = cached(limited_table, view.run, view.kind, *within)
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
