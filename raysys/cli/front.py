"""`raysys front`: what accuracy costs in queries."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysys.cli import output
from raysys.cli.what_if import print_what_if
from raysys.errors import UsageError

if TYPE_CHECKING:
    from raysys.store.reader import Snapshot


class FrontKind(StrEnum):
    """Which points take part: finished trials, or all reports."""

    FINAL = "final"
    ANYTIME = "anytime"


class WhatIf(StrEnum):
    """Schedulers that a run can be replayed through."""

    QUERY_ASHA = "query-asha"


def front(
    run: Annotated[str, typer.Argument(help="the run's folder or URI")],
    max_queries: Annotated[
        int | None, typer.Option(min=0, help="only points up to this many queries; the best is marked")
    ] = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="only points of at least this accuracy (or agreement); the cheapest is marked"
        ),
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="only points of at most so many seconds of work; the best is marked"),
    ] = None,
    kind: Annotated[
        FrontKind, typer.Option(help="final: over finished trials; anytime: over all reports")
    ] = FrontKind.FINAL,
    what_if: Annotated[
        WhatIf | None, typer.Option(help="what early stopping would have saved, and lost of the front")
    ] = None,
    history: Annotated[
        bool,
        typer.Option("--history", help="how the final front's hypervolume changed with the queries spent"),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show the Pareto front of a run: accuracy or agreement up, queries down; the knee is marked.

    Trials that differ by their seed only are one point, at their means.
    """
    from raysys.store.reader import read_run

    of_whole = [flag for flag, given in (("--history", history), ("--what-if", what_if)) if given]
    limits = (max_queries, min_accuracy, max_seconds)
    limited = limits != (None, None, None) or kind is FrontKind.ANYTIME
    if of_whole and (limited or len(of_whole) > 1):
        raise UsageError(
            f"{of_whole[0]} is of the whole final front",
            hint="leave out limits and --kind, and ask for one of the two at a time",
        )
    snapshot = read_run(run)
    if what_if is not None:
        print_what_if(snapshot, json)
    elif history:
        _history(snapshot, json)
    else:
        _front(snapshot, kind, *limits, json)


def _front(
    snapshot: "Snapshot",
    kind: FrontKind,
    max_queries: int | None,
    min_accuracy: float | None,
    max_seconds: float | None,
    json: bool,
) -> None:
    from raysys.store.points import marked_front_json, run_front

    whole = run_front(snapshot, kind.value)
    data = marked_front_json(snapshot, whole, kind.value, max_queries, min_accuracy, max_seconds)
    if json:
        output.print_json(data)
    elif data["points"]:
        limited = (max_queries, min_accuracy, max_seconds) != (None, None, None)
        print_front(data, len(whole.members) if limited else None)
    elif len(whole.members):
        output.note(f"none of the {len(whole.members)} points of the front is within these limits")
    elif data["outside"] or data["excluded"]:
        output.note("no front: every finished trial is beyond a limit of the space, or has no finite score")
    else:
        output.note("no front yet: no trial has finished (--kind anytime shows reports of running ones)")


def print_front(front: dict[str, Any], of: int | None = None) -> None:
    """Print a front (the JSON object of `--json`) as a table; within limits, it is of a whole of so many.

    `val` and `test` are of what ranks the students, accuracy or agreement; the bar is what is above chance.
    Where a point has several seeds, numbers are mean ± sample standard deviation, and a column counts them.
    """
    from raysys.fronts.objectives import AGREEMENT, SECONDS, TESTED

    score = front["objectives"][0]["name"]
    test = TESTED[score]
    chance = front["reference"][score]
    kind = " agreement" if score == AGREEMENT.name else ""
    several = any(point["seeds"] > 1 for point in front["points"])
    timed = any(one["name"] == SECONDS.name for one in front["objectives"])
    rows = []
    for point in front["points"]:
        bar = "█" * round(24 * max(0.0, point[score] - chance) / (1 - chance))
        marks = [mark for mark in ("best", "cheapest", "knee") if point.get(mark)]
        count = [point["seeds"]] if several else []
        shares = [_share(point[name], point[f"{name}_std"] if several else None) for name in (score, test)]
        spent = [round(point["queries"]), *([f"{point['seconds']:.1f}"] if timed else [])]
        rows.append([point["uid"], *count, *spent, *shares, bar, ", ".join(marks) or None])
    columns = ["uid", *(["seeds"] if several else []), "queries", *(["seconds"] if timed else [])]
    output.table((*columns, f"val{kind}", f"test{kind}", "", ""), rows)
    points, volume = len(front["points"]), f"{front['hypervolume']:.4f}"
    if of is None:
        output.result(f"{points} points, hypervolume {volume}")
    else:
        # Within seconds there may be points that are not on the whole front.
        output.result(
            f"{points} points within the limits; the whole front: {of} points, hypervolume {volume}"
        )
    if front["excluded"]:
        output.note(f"{front['excluded']} points without a finite {score} are left out")
    if front["outside"]:
        told = ", ".join(f"{name} {limit:g}" for name, limit in front["limits"].items())
        output.note(f"{front['outside']} points beyond the space's limits are left out: {told}")


def _share(mean: float | None, std: float | None) -> str | None:
    if mean is None:
        return None
    return f"{mean:.2%}" if std is None else f"{mean:.2%} ± {100 * std:.2f}"


def _history(snapshot: "Snapshot", json: bool) -> None:
    from raysys.store.points import history_json

    data = history_json(snapshot)
    if json:
        return output.print_json(data)
    if not data["history"]:
        return output.note("no history yet: no trial has ended")
    rows = [
        (
            step["ended"],
            f"{step['queries']:,}",
            f"{step['hypervolume']:.4f}",
            "█" * round(24 * step["hypervolume"]),
        )
        for step in data["history"]
    ]
    output.table(("trials", "queries", "hypervolume", ""), rows)
    output.result(f"{data['ended']} trials ended, {data['queries']:,} queries, evaluation not included")
    return None
