"""A run as one HTML file: what it found, for how many queries, and how; to send and to keep."""

import shlex
from collections.abc import Sequence
from typing import Any

from raysys.figures import page, queries
from raysys.figures.budget import budget_alt, budget_figure
from raysys.figures.comparison import Comparison, compare_runs
from raysys.figures.front import front_alt, front_figure
from raysys.figures.looks import text
from raysys.figures.methods import front_command, methods_text
from raysys.fronts.attainment import best_within
from raysys.fronts.objectives import SECONDS, TESTED
from raysys.store.budgets import budgets, curves
from raysys.store.health import damage
from raysys.store.manifest import RunState
from raysys.store.points import front_json, run_front, varying_parameters
from raysys.store.reader import Snapshot
from raysys.store.spending import spending

TEMPLATE = "plotly_white"


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
        page.section("Methods", *(page.tag("p", paragraph) for paragraph in methods_text(run).split("\n\n"))),
        page.section("To get the same again", page.tag("pre", "\n".join(_commands(run, front, others)))),
    ]
    return page.page(f"raysys report: {run.name}", parts, "front", front)


def _head(run: Snapshot) -> str:
    manifest = run.manifest
    # Times of files: those of a copy are the copy's, unless it kept them.
    stamp = f"files last changed {run.updated:%Y-%m-%d %H:%M:%S} UTC"
    running = manifest.state is RunState.RUNNING
    state = f"still running, {stamp}" if running else f"{manifest.state}, {stamp}"
    lines = [
        page.tag("h1", f"Run {run.name}"),
        page.tag(
            "p", f"{run.path}: {state}. Space {manifest.space.get('name', '')}, method {manifest.method}."
        ),
        page.WITHOUT_SCRIPTS,
    ]
    if damaged := damage(run):
        lines.append(page.tag("p", damaged, "note"))
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
    return page.section("Overview", page.table("Headline numbers", ("", ""), rows))


def _front(run: Snapshot, front: dict[str, Any]) -> str:
    if not front["points"]:
        return page.section("Trade-off", page.tag("p", front_alt(run)))
    return page.section(
        "Trade-off",
        page.chart("front-chart", front_figure(run, template=TEMPLATE), front_alt(run)),
        _points("The final front; the knee is bold", run, front["points"]),
    )


def _budget(run: Snapshot, front: dict[str, Any]) -> str:
    found = curves((run,))
    if not front["points"]:
        return ""
    members = found[0].fronts[0]
    points = dict(zip(members.members.tolist(), front["points"], strict=True))
    bought = {budget: best_within(members, budget) for budget in budgets(found)}
    rows = {f"{budget:,}": points[member] for budget, member in bought.items() if member is not None}
    return page.section(
        "Budget",
        page.chart("budget-chart", budget_figure(found, template=TEMPLATE), budget_alt(found)),
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
    return page.table(caption, columns, rows, [point["knee"] for point in points], "points")


def _spend(run: Snapshot) -> str:
    """Where the queries went, as the tables know it."""
    spent = spending(run)
    alt = queries.spending_alt(spent)
    rows = [(row["use"], row["trials"], row["charged"], f"{row['share']:.1%}") for row in spent.to_pylist()]
    return page.section(
        "Queries",
        page.chart("spend-chart", queries.spending_figure(spent, TEMPLATE), alt) if rows else "",
        page.table(
            f"Queries charged by use, {run.charged:,} in all", ("use", "trials", "queries", "share"), rows
        ),
    )


def _failures(run: Snapshot) -> str:
    found = [("failed", count, error) for error, count in run.failures().items()]
    found += [("finished", 1, f"{uid} {note}") for uid, note in run.notes().items()]
    if not found:
        return ""
    return page.section("Failures and remarks", page.table("First lines", ("trials", "count", "says"), found))


def _comparison(found: Comparison) -> str:
    parts = [page.tag("pre", f"Left out: {reason}", "note") for reason in found.left_out]
    if not found.runs:
        return page.section("Compare", *parts)
    for name, chart in (
        ("fronts", found.fronts),
        ("hypervolume", found.hypervolume),
        ("attainment", found.attainment),
        ("difference", found.difference),
    ):
        if chart is not None:
            parts.append(page.chart(f"compare-{name}-chart", chart.figure, chart.alt))
    if found.attained is not None:
        score = text(found.score)
        parts += [
            page.arrow("Searches: runs that differ by their seed only are one", found.searches_table),
            *(page.tag("p", note) for note in found.searches_notes),
            page.arrow(f"{score} in % attained within a budget by all runs, half, the best", found.attained),
        ]
    parts += [
        page.arrow("Methods, as raysys compare prints them", found.methods),
        *(page.tag("p", note) for note in found.methods_notes),
        page.arrow("What differs between the runs", found.settings, "settings")
        if found.settings.num_rows
        else "",
    ]
    return page.section("Compare", *parts)


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
