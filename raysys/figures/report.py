"""A run as one HTML file that needs nothing else: it opens offline, prints, and can be read without scripts.

All that comes from the run is escaped, and a content security policy lets the file ask nobody for anything.
"""

import json
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
from plotly.offline import get_plotlyjs

from raysys.figures.compare import fronts_alt, fronts_figure
from raysys.figures.comparison import Comparison, compare_runs
from raysys.figures.front import BLUE, front_alt, front_figure, text
from raysys.figures.methods import front_command, methods_text
from raysys.fronts.attainment import best_within, round_budgets
from raysys.fronts.objectives import SECONDS, TESTED
from raysys.records import TrialStatus
from raysys.store.manifest import RunState
from raysys.store.points import floats, front_json, run_front, varying_parameters
from raysys.store.reader import Snapshot
from raysys.store.searches import searches

TEMPLATE = "plotly_white"
_WIDTH, _HEIGHT = 680, 420
"""Of a chart in CSS pixels: as wide as A4 within its margins."""

_STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #111; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #999; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.85rem; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.25rem; }
th, td { border: 1px solid #bbb; padding: 0.2rem 0.5rem; text-align: left; vertical-align: top; }
td { white-space: nowrap; }
td:last-child, .settings td { white-space: normal; overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.knee { font-weight: 600; }
figure { margin: 1rem 0; }
figcaption { font-size: 0.85rem; color: #444; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f4f4; padding: 0.5rem; }
.note { border-left: 4px solid #D55E00; padding-left: 0.75rem; }
@page { size: A4; margin: 15mm; }
@media print {
  body { color: #000; font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .wide { overflow: visible; }
  table { font-size: 7.5pt; width: 100%; }
  pre { background: none; border: 1px solid #bbb; }
  figure, tr { break-inside: avoid; }
  h2, caption { break-after: avoid; }
}
"""

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<script>{plotly}</script>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="front">{front}</script>
</body>
</html>
"""


def report_html(run: Snapshot, others: tuple[Snapshot, ...] = ()) -> str:
    """The report of a run as HTML, about 5 MB; where there are `others`, also what `raysys compare` tells.

    The run's front as `raysys front --json` prints it is in the element `front`.
    """
    front = front_json(run, run_front(run))
    parts = [
        _head(run),
        _overview(run, front),
        _front(run, front),
        _budget(run, front),
        _spend(run),
        _failures(run),
        _comparison(compare_runs((run, *others), TEMPLATE)) if others else "",
        _section("Methods", *(_tag("p", paragraph) for paragraph in methods_text(run).split("\n\n"))),
        _section("To get the same again", _tag("pre", "\n".join(_commands(run, front, others)))),
    ]
    return _PAGE.format(
        policy=_POLICY,
        title=escape(f"raysys report: {run.name}"),
        style=_STYLE,
        plotly=get_plotlyjs(),
        body="\n".join(part for part in parts if part),
        front=json.dumps(front, allow_nan=False).replace("<", "\\u003c"),
    )


def _head(run: Snapshot) -> str:
    manifest = run.manifest
    stamp = f"{run.updated:%Y-%m-%d %H:%M:%S} UTC"
    running = manifest.state is RunState.RUNNING
    state = f"still running: as of {stamp}" if running else f"{manifest.state}, {stamp}"
    lines = [
        _tag("h1", f"Run {run.name}"),
        _tag("p", f"{run.path}: {state}. Space {manifest.space.get('name', '')}, method {manifest.method}."),
        "<noscript><p class='note'>Charts need scripts; all their numbers are in the tables.</p></noscript>",
    ]
    if run.skipped:
        lines.append(_tag("p", f"{run.skipped} damaged files are left out.", "note"))
    return "\n".join(lines)


def _overview(run: Snapshot, front: dict[str, Any]) -> str:
    manifest, points = run.manifest, front["points"]
    best = points and max(points, key=lambda one: one[manifest.score])
    knee = next((one for one in points if one["knee"]), None)
    reached = "{} at {:,.0f} queries ({})"
    rows: list[tuple[str, str]] = [
        ("points on the final front", f"{len(points)}"),
        ("hypervolume (in [0, 1], more is better)", f"{front['hypervolume']:.4f}"),
    ]
    for name, point in (("best", best), ("at the knee", knee)):
        if point:
            share = _share(point, manifest.score)
            rows.append(
                (f"{text(manifest.score)}, {name}", reached.format(share, point["queries"], point["uid"]))
            )
    card = manifest.teacher
    if card is not None and card.val_accuracy is not None:
        rows.append(("teacher's val accuracy", f"{card.val_accuracy:.2%}"))
    states = ", ".join(f"{count} {status}" for status, count in run.counts().items() if count)
    rows += [
        ("trials", f"{states or 'none'}, of {manifest.trials} planned"),
        ("queries charged, evaluation included", f"{run.charged:,}"),
    ]
    if manifest.executed:
        rows.append(("images sent, all attempts", f"{manifest.executed:,}"))
    if manifest.price:
        rows.append(("cost", f"{manifest.cost:,.2f} USD, at {manifest.price:g} USD for each image sent"))
    for what, why in (("excluded", "a value that is not finite"), ("outside", "a limit of the space")):
        if front[what]:
            rows.append((f"points left out for {why}", f"{front[what]}"))
    return _section("Overview", _table("Headline numbers", ("", ""), rows))


def _front(run: Snapshot, front: dict[str, Any]) -> str:
    if not front["points"]:
        return _section("Trade-off", _tag("p", front_alt(run)))
    return _section(
        "Trade-off",
        _chart("front-chart", front_figure(run, template=TEMPLATE), front_alt(run)),
        _points("The final front; the knee is bold", run, front["points"]),
    )


def _budget(run: Snapshot, front: dict[str, Any]) -> str:
    members = run_front(run)
    if not front["points"]:
        return ""
    found, score = searches((run,)), run.manifest.score
    at = round_budgets(float(members.queries[0]), float(members.queries[-1]))
    points = dict(zip(members.members.tolist(), front["points"], strict=True))
    bought = {budget: best_within(members, budget) for budget in at}
    rows = {f"{budget:,}": points[member] for budget, member in bought.items() if member is not None}
    return _section(
        "Budget",
        _chart("budget-chart", fronts_figure(found, score, TEMPLATE), fronts_alt(found, score)),
        _points("The best configuration within a budget", run, list(rows.values()), list(rows)),
    )


def _points(
    caption: str, run: Snapshot, points: Sequence[dict[str, Any]], budgets: Sequence[str] = ()
) -> str:
    """Points of a front as a table, each with the budget that buys it where these are given."""
    score, price, names = run.manifest.score, run.manifest.price, varying_parameters(run)
    timed = any(one.name == SECONDS.name for one in run.manifest.objectives)
    columns = [
        *(["budget"] if budgets else []),
        "uid",
        "seeds",
        "queries",
        *(["USD"] if price else []),
        *(["seconds"] if timed else []),
        text(score),
        text(TESTED[score]),
        "what differs in its config",
    ]
    rows = []
    for number, point in enumerate(points):
        rows.append(
            [
                *([budgets[number]] if budgets else []),
                point["uid"],
                point["seeds"],
                round(point["queries"]),
                *([f"{price * point['queries']:,.2f}"] if price else []),
                *([f"{point['seconds']:.1f}"] if timed else []),
                _share(point, score) + (", knee" if point["knee"] else ""),
                _share(point, TESTED[score]),
                _config(point["config"], names),
            ]
        )
    return _table(caption, columns, rows, [point["knee"] for point in points])


def _spend(run: Snapshot) -> str:
    """Where the queries went, by the state of the trials that asked them."""
    status, queries = run.trials["status"].to_numpy(), floats(run.trials, "queries")
    rows: list[tuple[str, int | None, int]] = []
    for one in TrialStatus:
        if (of := status == one.value).any():
            rows.append((one.value, int(of.sum()), int(queries[of].sum())))
    rest = run.charged - sum(spent for _, _, spent in rows)
    rows.append(("evaluation, and not reported yet", None, rest))
    figure = go.Figure(layout={"template": TEMPLATE})
    figure.add_bar(
        y=[name for name, _, _ in rows],
        x=[spent for _, _, spent in rows],
        orientation="h",
        marker={"color": BLUE},
        text=[f"{spent:,}" for _, _, spent in rows],
    )
    figure.update_layout(
        xaxis={"title": "queries charged (images)", "tickformat": ","},
        yaxis={"autorange": "reversed", "automargin": True},
        margin={"l": 20, "r": 20, "t": 20, "b": 60},
        height=120 + 45 * len(rows),
    )
    alt = f"Queries by the state of the trials that asked them, {run.charged:,} in all."
    return _section(
        "Queries", _chart("spend-chart", figure, alt), _table(alt, ("state", "trials", "queries"), rows)
    )


def _failures(run: Snapshot) -> str:
    found = [("failed", count, error) for error, count in run.failures().items()]
    found += [("finished", 1, f"{uid} {note}") for uid, note in run.notes().items()]
    if not found:
        return ""
    return _section("Failures and remarks", _table("First lines", ("trials", "count", "says"), found))


def _comparison(found: Comparison) -> str:
    parts = [_tag("pre", f"Left out: {reason}", "note") for reason in found.left_out]
    if not found.runs:
        return _section("Compare", *parts)
    for name, chart in (
        ("fronts", found.fronts),
        ("hypervolume", found.hypervolume),
        ("attainment", found.attainment),
        ("difference", found.difference),
    ):
        if chart is not None:
            parts.append(_chart(f"compare-{name}-chart", chart.figure, chart.alt))
    if found.attained is not None:
        score = text(found.score)
        parts += [
            _arrow("Searches: runs that differ by their seed only are one", found.searches_table),
            *(_tag("p", note) for note in found.searches_notes),
            _arrow(f"{score} in % attained within a budget by all runs, half, the best", found.attained),
        ]
    parts += [
        _arrow("Methods, as raysys compare prints them", found.methods),
        *(_tag("p", note) for note in found.methods_notes),
        _arrow("What differs between the runs", found.settings, "settings")
        if found.settings.num_rows
        else "",
    ]
    return _section("Compare", *parts)


def _commands(run: Snapshot, front: dict[str, Any], others: tuple[Snapshot, ...]) -> list[str]:
    paths = [run.path, *(other.path for other in others)]
    return [
        front_command(run),
        shlex.join(["raysys", "audit", run.path]),
        *(shlex.join(["raysys", "trial", "--from", f"{run.path}:{one['uid']}"]) for one in front["points"]),
        *([shlex.join(["raysys", "compare", *paths])] if others else []),
        shlex.join(["raysys", "report", *paths, "-o", "report.html"]),
    ]


def _share(point: dict[str, Any], name: str) -> str:
    """A mean in percent with its sample standard deviation; a dash where there is none."""
    mean, std = point[name], point[f"{name}_std"]
    if mean is None:
        return "-"
    return f"{mean:.2%}" if std is None else f"{mean:.2%} ± {100 * std:.2f}"


def _config(config: dict[str, Any], names: Sequence[str]) -> str:
    """The options of these names, numbers with four digits."""
    known = {name: config[name] for name in names if name in config}
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in known.items()
    )


def _chart(name: str, figure: go.Figure, alt: str) -> str:
    """A figure of fixed size, so that it is the same on paper; in SVG, which needs no WebGL."""
    drawn = go.Figure(
        data=[
            {**trace.to_plotly_json(), "type": "scatter"} if trace.type == "scattergl" else trace
            for trace in figure.data
        ],
        layout=figure.layout,
    )
    drawn.update_layout(width=_WIDTH, height=figure.layout.height or _HEIGHT)
    config = {"displaylogo": False, "responsive": False, "typesetMath": False}
    div = drawn.to_html(config, full_html=False, include_plotlyjs=False, div_id=name)
    label = escape(alt)
    return f'<figure role="group" aria-label="{label}">{div}<figcaption>{label}</figcaption></figure>'


def _arrow(caption: str, table: pa.Table, kind: str = "") -> str:
    rows = (list(row.values()) for row in table.to_pylist())
    return _table(caption, table.column_names, rows, kind=kind)


def _table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    marked: Sequence[bool] = (),
    kind: str = "",
) -> str:
    """A table; whole numbers get their commas, None is empty, `marked` rows are bold."""
    head = "".join(_tag("th", column) for column in columns)
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(
            _tag("td", f"{cell:,}", "number")
            if isinstance(cell, int)
            else _tag("td", "" if cell is None else str(cell))
            for cell in row
        )
        bold = number < len(marked) and marked[number]
        lines.append(f"<tr class='knee'>{cells}</tr>" if bold else f"<tr>{cells}</tr>")
    return (
        f'<div class="wide {kind}"><table>{_tag("caption", caption)}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _section(title: str, *parts: str) -> str:
    return "\n".join([f"<section>{_tag('h2', title)}", *filter(None, parts), "</section>"])


def _tag(name: str, content: str, kind: str = "") -> str:
    """An element with escaped text."""
    start = f"{name} class='{kind}'" if kind else name
    return f"<{start}>{escape(content)}</{name}>"
