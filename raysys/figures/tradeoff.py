"""The front as the page and the report look at it: beside other runs' fronts, coloured, with margins."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from raysys.figures.axes import extent
from raysys.figures.front import front_figure
from raysys.figures.looks import BLUE, GREY, RUNS, colour, dash, empty_figure, plain, symbol, text
from raysys.fronts.attainment import staircase
from raysys.fronts.objectives import SECONDS, Floats
from raysys.store.points import Kind, floats, front_within, points_table, positions, run_front
from raysys.store.reader import Snapshot
from raysys.store.schema import PARAMETER

_CATEGORIES = ("circle", "hexagram", "star-square", "bowtie", "hourglass", "triangle-left", "star-diamond")
_HUES = (BLUE, *RUNS[:0:-1])
_BINS = 40
_MOST_3D = 2000
_HEIGHT = 540


@dataclass(frozen=True)
class Look:
    """How the front is looked at.

    `share`: of the points off the front, the best by score, 0 to 1. `colour`: a parameter's name, or None.
    `robust`: the score's axis ends where the bulk of the points does. `linear`: queries not on a log axis.
    `margins`: histograms beside the axes. `pins`: uids to ring.
    """

    share: float = 1.0
    colour: str | None = None
    robust: bool = False
    linear: bool = False
    margins: bool = False
    pins: tuple[str, ...] = ()


def tradeoff_figure(
    runs: tuple[Snapshot, ...],
    kind: Kind = "final",
    max_queries: float | None = None,
    min_score: float | None = None,
    max_seconds: float | None = None,
    look: Look = Look(),
    template: str | None = None,
) -> go.Figure:
    """The first run's points and front as in `front_figure`, the fronts of the others as step lines."""
    run, *others = runs
    figure = front_figure(
        run, kind, max_queries, min_score, template, max_seconds=max_seconds, share=look.share, pins=look.pins
    )
    if look.colour is not None:
        _colour(figure, run, look.colour)
    for number, other in enumerate(others, start=1):
        figure.add_trace(_other(other, kind, number))
    if others:
        figure.update_traces({"name": f"front of {plain(run.name)}"}, {"name": "front"})
    (low, high), (bottom, top) = extent(figure)
    if look.robust and (fence := _fence(figure)) is not None:
        below = int(sum((_finite(trace.y) < fence).sum() for trace in _points(figure)))
        if below:
            bottom = fence
            figure.update_yaxes(title=f"{figure.layout.yaxis.title.text} ({below} points lie below)")
    x = [0, high] if look.linear else np.log10([low, high]).tolist()
    figure.update_layout(xaxis={"range": x}, yaxis={"range": [bottom, top]}, height=_HEIGHT)
    if look.linear:
        figure.update_layout(xaxis={"type": "linear", "dtick": None, "minorloglabels": None})
    if look.margins:
        _margins(figure, look.linear)
    return figure


def front_3d(
    snapshot: Snapshot,
    kind: Kind = "final",
    max_queries: float | None = None,
    min_score: float | None = None,
    max_seconds: float | None = None,
    template: str | None = None,
) -> go.Figure:
    """Score over queries and seconds: the whole front, and an even sample of the other points."""
    front = run_front(snapshot, kind)
    within = front_within(snapshot, front, kind, max_queries, min_score, max_seconds)
    score, eligible = positions(snapshot, front, kind)
    off = np.isfinite(score) & eligible
    off[front.members] = False
    at, total = np.flatnonzero(off), int(off.sum())
    most = max(0, _MOST_3D - len(front.members))
    if total > most:
        at = at[np.linspace(0, total - 1, most).astype(np.int64)]
    name = "dominated" if len(at) == total else f"dominated ({len(at):,} of {total:,})"
    figure = empty_figure(template)
    for label, rows, marker in (
        (name, at, {"color": GREY, "size": 3, "opacity": 0.5}),
        (
            "front beyond the limits",
            np.setdiff1d(front.members, within.members),
            {"color": BLUE, "size": 5, "symbol": "circle-open"},
        ),
        ("front", within.members, {"color": BLUE, "size": 5, "symbol": "diamond"}),
    ):
        if not len(rows):
            continue
        points = points_table(snapshot, front, kind, rows)
        figure.add_scatter3d(
            name=label,
            mode="markers",
            marker=marker,
            x=floats(points, "queries"),
            y=floats(points, SECONDS.name),
            z=floats(points, snapshot.manifest.score),
            customdata=np.array([points["uid"].to_pylist()], dtype=object).T,
            hovertemplate="%{customdata[0]}<br>%{z:.2%}<br>%{x:,} queries<br>%{y:.1f} s"
            "<extra>%{fullData.name}</extra>",
        )
    words = text(snapshot.manifest.score)
    figure.update_layout(
        scene={
            "xaxis": {"type": "log", "title": "queries (fewer is better)"},
            "yaxis": {"title": "seconds (fewer is better)"},
            "zaxis": {"title": f"{words} (more is better)", "tickformat": ".0%"},
            "camera": {"eye": {"x": 1.5, "y": 1.5, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.15}},
        },
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        margin={"l": 0, "r": 0, "t": 40, "b": 0},
        height=_HEIGHT,
    )
    return figure


def _other(snapshot: Snapshot, kind: Kind, number: int) -> go.Scatter:
    """The front of another run: what its queries buy, as a step line.

    `customdata` begins with no uid, as those of the figure are the first run's.
    """
    front = run_front(snapshot, kind)
    stairs = staircase(front)
    uids = points_table(snapshot, front, kind, front.members[stairs])["uid"].to_pylist()
    return go.Scatter(
        name=plain(snapshot.name),
        mode="lines+markers",
        line={"shape": "hv", "color": colour(number), "width": 2, "dash": dash(number)},
        marker={"size": 8, "symbol": symbol(number), "color": colour(number)},
        x=front.queries[stairs],
        y=front.score[stairs],
        meta="other run",
        customdata=np.array([[""] * len(uids), uids], dtype=object).T,
        hovertemplate="%{customdata[1]}<br>%{y:.2%}<br>%{x:,} queries<extra>%{fullData.name}</extra>",
    )


def _colour(figure: go.Figure, run: Snapshot, name: str) -> None:
    """Colour points by a parameter: a number by a scale, which is logarithmic where it spans two decades.

    A category has a colour and a symbol, hollow where the state's is; a grey asterisk has no such parameter.
    """
    column = run.trials[PARAMETER + name]
    number = not (pa.types.is_string(column.type) or pa.types.is_boolean(column.type))
    if number:
        values = floats(run.trials, PARAMETER + name)
        log = bool((values[np.isfinite(values)] > 0).all() and np.nanmax(values) >= 100 * np.nanmin(values))
        values = np.log10(values) if log else values
        bar = {"title": {"text": plain(name)}, "thickness": 14}
        if log:
            low, high = np.floor(np.nanmin(values)), np.ceil(np.nanmax(values))
            ticks = np.arange(low, high + 1)
            bar |= {"tickvals": ticks, "ticktext": [f"{10.0**tick:g}" for tick in ticks]}
        figure.update_layout(coloraxis={"colorscale": "Viridis", "colorbar": bar})
    else:
        codes = pc.cast(column, pa.string()).combine_chunks().dictionary_encode()
        values = codes.indices.cast(pa.float64()).to_numpy(zero_copy_only=False)
        _categories(figure, name, codes.dictionary.to_pylist())
    of = dict(zip(run.trials["uid"].to_pylist(), values.tolist(), strict=True))
    for trace in _points(figure):
        told = np.array([of.get(uid, np.nan) for uid in trace.customdata[:, 0]])
        if number:
            trace.update(marker={"color": told, "coloraxis": "coloraxis"}, opacity=0.8)
        else:
            _mark(trace, told)


def _categories(figure: go.Figure, name: str, words: Sequence[str]) -> None:
    """Entries of the legend for the categories."""
    for number, word in enumerate(words):
        figure.add_scatter(
            name=plain(f"{name} = {word}"),
            x=[None],
            y=[None],
            mode="markers",
            hoverinfo="skip",
            marker={"color": _hue(number), "symbol": _CATEGORIES[number % len(_CATEGORIES)], "size": 9},
        )


def _mark(trace: go.Scatter | go.Scattergl, codes: Floats) -> None:
    """Give points the colour and the symbol of their category."""
    hollow = "-open" if str(trace.marker.symbol).endswith("-open") else ""
    known = [None if np.isnan(code) else int(code) for code in codes]
    trace.update(
        marker={
            "color": [GREY if code is None else _hue(code) for code in known],
            "symbol": [
                "asterisk-open" if code is None else _CATEGORIES[code % len(_CATEGORIES)] + hollow
                for code in known
            ],
        },
        opacity=0.8,
    )


def _hue(number: int) -> str:
    return _HUES[number % len(_HUES)]


def _points(figure: go.Figure) -> list[go.Scatter | go.Scattergl]:
    """The traces of the first run's own points, each point once."""
    marks = ("knee", "pinned")
    return [
        trace
        for trace in figure.data
        if trace.customdata is not None and trace.meta is None and not trace.name.startswith(marks)
    ]


def _fence(figure: go.Figure) -> float | None:
    """Tukey's lower fence of the scores drawn; None for too few of them."""
    scores = np.concatenate([[], *(_finite(trace.y) for trace in _points(figure))])
    if len(scores) < 4:
        return None
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(low - 1.5 * (high - low))


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _margins(figure: go.Figure, linear: bool) -> None:
    """How many of the points drawn lie where, beside both axes."""
    traces = _points(figure)
    x, y = (np.concatenate([[], *(_finite(trace[axis]) for trace in traces)]) for axis in "xy")
    if not len(x):
        return
    edges = (
        np.linspace(0, x.max(), _BINS + 1) if linear else np.geomspace(x.min(), x.max() * 1.001, _BINS + 1)
    )
    line = {"color": GREY, "width": 1}
    common = {"mode": "lines", "line": line, "showlegend": False, "meta": "margin", "hoverinfo": "skip"}
    counts = np.histogram(x, edges)[0]
    figure.add_scatter(
        name="points over queries",
        x=edges,
        y=np.append(counts, 0),
        yaxis="y2",
        fill="tozeroy",
        **common | {"line": {**line, "shape": "hv"}},
    )
    counts, edges = np.histogram(y, _BINS)
    figure.add_scatter(
        name="points over score",
        x=np.append(counts, 0),
        y=edges,
        xaxis="x2",
        fill="tozerox",
        **common | {"line": {**line, "shape": "vh"}},
    )
    figure.update_layout(
        xaxis={"domain": [0, 0.87]},
        yaxis={"domain": [0, 0.85]},
        xaxis2={"domain": [0.89, 1], "title": "points", "nticks": 3, "rangemode": "tozero"},
        yaxis2={"domain": [0.88, 1], "title": "points", "nticks": 3, "rangemode": "tozero"},
    )
