"""Which ranges to narrow or to extend."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import streamlit as st

from dashboard import frame
from dashboard.elements import chart, table
from dashboard.snapshot import cached
from raysys.errors import SpaceError
from raysys.figures.pair_map import map_alt, map_figure
from raysys.figures.parallel import parallel_figure
from raysys.figures.parameters import (
    MOST_DRAWN,
    drawn,
    importance_alt,
    importance_figure,
    slice_alt,
    slice_figure,
)
from raysys.space.importance import LEAST_TRIALS
from raysys.store.parameters import (
    Searched,
    front_text,
    importance_json,
    prior_text,
    searched,
    values_table,
)
from raysys.store.reader import Snapshot

_MOST_PICKED, _PICKED = 8, 4


def main() -> None:
    """Draw the page."""
    view = frame.head("Parameters", "Which ranges to narrow or to extend.")
    try:
        run = cached(searched, view.run)
    except SpaceError as failure:
        st.info("What this run searched is not known: its run.json has no whole space.")
        st.code(str(failure), language=None)
        return
    names = cached(by_importance, view.run)
    if not names:
        st.info(_why_nothing(run))
        return
    _counted(run, names)
    _importance(view.run)
    _ranges(view.run)
    picked, objective = _controls(names, view.run.manifest.goal.names)
    if picked:
        _slices(view.run, run, picked, objective)
        _parallel(view.run, run, picked)
    _map(view.run, names)


def by_importance(run: Snapshot) -> list[str]:
    """The parameters that vary, by falling importance for the score."""
    varying = cached(searched, run).varying()
    return [row["name"] for row in cached(importance_json, run)["parameters"] if row["name"] in varying]


def _why_nothing(run: Searched) -> str:
    if not run.parameters:
        return "This run searches no parameter: its space fixes them all."
    if len(run.uids) < 2:
        return (
            f"Parameters need finished trials with all objectives: there are {len(run.uids)} yet,"
            f" importances need {LEAST_TRIALS}. Refresh when more have finished."
        )
    return (
        f"None of the {len(run.parameters)} parameters differs between the {len(run.uids)} finished trials."
    )


def _counted(run: Searched, names: Sequence[str]) -> None:
    """What is looked at, and what is not."""
    told = [f"{len(run.uids):,} finished trials, {run.front.sum():,} of them on the final front."]
    if run.left_out:
        told.append(f"{run.left_out:,} finished trials have an objective that is not finite: left out.")
    same = [name for name in run.parameters if name not in names]
    if same:
        told.append(f"Left out, since the same in all trials: {', '.join(same)}.")
    st.text(" ".join(told))


def _importance(run: Snapshot) -> None:
    st.subheader("Which parameters decide", anchor=False)
    found = cached(importance_json, run)
    told = [
        f"{objective.replace('_', ' ')}: "
        + (
            one["why"]
            or f"values in the best {one['best']:,} of {one['trials']:,} finished trials, and in all"
        )
        for objective, one in found["objectives"].items()
    ]
    st.caption(
        f"{'; '.join(told)} (PED-ANOVA). Correlational: what a search tried together cannot be told apart,"
        " and no change is promised. The table has all parameters."
    )
    if all(one["why"] for one in found["objectives"].values()):
        return
    figure, alt = cached(parameter_importances, run)
    chart(figure, "importance-chart", alt)


def parameter_importances(run: Snapshot) -> tuple[go.Figure, str]:
    """The importances of the parameters that vary, and what the chart shows in words."""
    found = cached(importance_json, run)
    shown = {**found, "parameters": _rows(run)}
    return importance_figure(shown), importance_alt(shown)


def _rows(run: Snapshot) -> list[dict[str, Any]]:
    names = cached(by_importance, run)
    return [row for row in cached(importance_json, run)["parameters"] if row["name"] in names]


def _ranges(run: Snapshot) -> None:
    st.subheader("Ranges beside the front", anchor=False)
    st.caption(
        "The values of the points on the final front: 5 % quantile, median and 95 % quantile, or how often"
        " each choice. Extend only where the option allows it."
    )
    rows = cached(parameter_ranges, run)
    share = st.column_config.NumberColumn(format="percent")
    table(
        rows,
        "ranges-table",
        f"ranges of {rows.num_rows} parameters and what the front says of them",
        column_config={_decides(name): share for name in run.manifest.goal.names},
    )


def parameter_ranges(run: Snapshot) -> pa.Table:
    """What the front says of the range of each parameter that varies, as `raysys importance` has it."""
    return pa.Table.from_pylist(
        [
            {
                "parameter": row["name"],
                "advice": row["advice"],
                "range": prior_text(row["prior"]),
                "front: 5 %, median, 95 %": front_text(row),
                "at bound": row["at_bound"],
                **{_decides(name): share for name, share in row["importance"].items()},
                "trials": row["trials"],
                "why": row["why"],
            }
            for row in _rows(run)
        ]
    )


def _decides(objective: str) -> str:
    return f"decides {objective.replace('_', ' ')}"


def _controls(names: Sequence[str], objectives: Sequence[str]) -> tuple[list[str], str]:
    st.subheader("Values and results", anchor=False)
    line = st.columns([3, 1], vertical_alignment="bottom")
    picked = line[0].multiselect(
        "Parameters",
        names,
        default=names[:_PICKED],
        key="parameters",
        bind="query-params",
        max_selections=_MOST_PICKED,
        help=f"At most {_MOST_PICKED}; the most important come first.",
    )
    objective = line[1].selectbox(
        "Slices show",
        objectives,
        key="slices",
        bind="query-params",
        format_func=lambda one: one.replace("_", " "),
    )
    return list(picked), objective or objectives[0]


def _slices(run: Snapshot, found: Searched, picked: Sequence[str], objective: str) -> None:
    shown = min(len(found.uids), max(MOST_DRAWN, int(found.front.sum())))
    st.caption(
        f"Showing {shown:,} of {len(found.uids):,} finished trials: all of the front, and a sample of the"
        " others, even by score. A trial without a parameter has no point. Select a point to open it."
        if shown < len(found.uids)
        else "All finished trials. One without a parameter has no point. Select a point to open its trial."
    )
    columns = st.columns(2)
    for number, name in enumerate(picked):
        with columns[number % 2]:
            figure, alt = cached(parameter_slice, run, name, objective)
            chosen = chart(
                figure, f"slice-{name}-chart", alt, on_select="rerun", selection_mode="points", height=340
            )
            if chosen["selection"]["points"]:
                _open(chosen["selection"]["points"][0]["customdata"][0])


def parameter_slice(run: Snapshot, name: str, objective: str) -> tuple[go.Figure, str]:
    """A slice, and what it shows in words."""
    found = cached(searched, run)
    rows = drawn(found)
    return slice_figure(found, name, objective, rows), slice_alt(found, name, objective, rows)


def _parallel(run: Snapshot, found: Searched, picked: Sequence[str]) -> None:
    figure, lines = cached(parallel_lines, run, list(picked))
    of = f"{lines.num_rows:,} of {len(found.uids):,} finished trials"
    st.caption(
        f"Showing {of} as lines over all axes. Drag along an axis to keep a part of it; “without” are trials"
        " that a condition leaves the parameter out of. Lines cannot be selected: the table has them."
    )
    chart(
        figure, "parallel-chart", f"Parallel coordinates of {of} over {', '.join(picked)}; a table follows."
    )
    chosen = table(
        lines,
        "parallel-table",
        f"{of}, the best first",
        on_select="rerun",
        selection_mode="single-row",
        column_config={"queries": st.column_config.NumberColumn(format="localized")},
    )
    if chosen["selection"]["rows"]:
        _open(lines["uid"][chosen["selection"]["rows"][0]].as_py())


def parallel_lines(run: Snapshot, names: list[str]) -> tuple[go.Figure, pa.Table]:
    """Parallel coordinates, and the trials that are their lines."""
    found = cached(searched, run)
    rows = drawn(found)
    return parallel_figure(found, names, rows), values_table(found, names, rows)


def _map(run: Snapshot, names: Sequence[str]) -> None:
    st.subheader("Two parameters at once", anchor=False)
    if len(names) < 2:
        st.info("A map needs two parameters that vary.")
        return
    line = st.columns(2)
    across = line[0].selectbox("Across", names, key="map-x", bind="query-params") or names[0]
    up = line[1].selectbox("Up", names, index=1, key="map-y", bind="query-params") or names[1]
    if across == up:
        st.info("Pick two different parameters.")
        return
    figure, alt = cached(parameter_map, run, across, up)
    if figure is None:
        st.info("No finished trial has both parameters: their conditions exclude each other.")
        return
    st.caption(
        f"The median {run.manifest.score.replace('_', ' ')} of the finished trials in each cell; hovering"
        " tells how many they are. Empty cells have none."
    )
    chart(figure, "map-chart", alt)


def parameter_map(run: Snapshot, across: str, up: str) -> tuple[go.Figure | None, str]:
    """The map of two parameters, none where no trial has both; and what it shows in words."""
    found = cached(searched, run)
    if (np.isnan(found.values[across]) | np.isnan(found.values[up])).all():
        return None, ""
    return map_figure(found, across, up), map_alt(found, across, up)


def _open(uid: str) -> None:
    st.switch_page("views/trial.py", query_params={"trial": uid})


main()
