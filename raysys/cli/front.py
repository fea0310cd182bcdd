"""`raysys front`: what accuracy costs in queries."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from raysys.cli import output
from raysys.cli.what_if import print_what_if


class FrontKind(StrEnum):
    """Which points take part: finished trials, or all reports."""

    FINAL = "final"
    ANYTIME = "anytime"


class WhatIf(StrEnum):
    """Schedulers that a run can be replayed through."""

    QUERY_ASHA = "query-asha"


def front(
    run: Annotated[str, typer.Argument(help="the run's folder")],
    max_queries: Annotated[
        int | None, typer.Option(min=0, help="only points up to this many queries")
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="only points of at least this accuracy (or agreement)")
    ] = None,
    kind: Annotated[
        FrontKind, typer.Option(help="final: over finished trials; anytime: over all reports")
    ] = FrontKind.FINAL,
    what_if: Annotated[
        WhatIf | None, typer.Option(help="what early stopping would have saved, and lost of the front")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show the Pareto front of a run: accuracy or agreement up, queries down; the knee is marked."""
    from raysys.store.points import front_json, run_front, within
    from raysys.store.reader import read_run

    snapshot = read_run(run)
    if what_if is not None:
        print_what_if(snapshot, json)
        return
    whole = run_front(snapshot, kind.value)
    data = front_json(snapshot, within(snapshot, whole, kind.value, max_queries, min_accuracy), kind.value)
    if json:
        output.print_json(data)
    elif data["points"]:
        print_front(data)
    elif len(whole.members):
        output.note(f"none of the {len(whole.members)} points of the front is within these limits")
    else:
        output.note("no front yet: no trial has finished (--kind anytime shows reports of running ones)")


def print_front(front: dict[str, Any]) -> None:
    """Print a front (the JSON object of `--json`) as a table.

    `val` and `test` are of what ranks the students, accuracy or agreement; the bar is what is above chance.
    """
    from raysys.fronts.objectives import AGREEMENT, TESTED

    score = front["objectives"][0]["name"]
    test = TESTED[score]
    chance = front["reference"][score]
    kind = " agreement" if score == AGREEMENT.name else ""
    output.table(
        ("uid", "queries", f"val{kind}", f"test{kind}", "", ""),
        [
            (
                point["uid"],
                point["queries"],
                f"{point[score]:.2%}",
                None if point[test] is None else f"{point[test]:.2%}",
                "█" * round(24 * max(0.0, point[score] - chance) / (1 - chance)),
                "knee" if point["knee"] else None,
            )
            for point in front["points"]
        ],
    )
    output.result(f"{len(front['points'])} points, hypervolume {front['hypervolume']:.4f}")
    if front["excluded"]:
        output.note(f"{front['excluded']} points without a finite {score} are left out")
