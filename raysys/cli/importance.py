"""`raysys importance`: which parameters decide, and where the front lies."""

from typing import Annotated

import typer

from raysys.cli import output


def importance(
    run: Annotated[str, typer.Argument(help="the run's folder or URI")],
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show what decides each objective (PED-ANOVA), the ranges on the front, and what to change."""
    from raysys.store.parameters import front_text, importance_json, prior_text
    from raysys.store.reader import read_run

    found = importance_json(read_run(run))
    if json:
        output.print_json(found)
        return
    parameters, objectives = found["parameters"], found["objectives"]
    if not parameters:
        output.note("this run searches no parameter")
        return
    output.table(
        ("parameter", *objectives, "trials", "prior", "front: 5 %, median, 95 %", "range"),
        [
            (
                one["name"],
                *(None if share is None else f"{share:.0%}" for share in one["importance"].values()),
                one["trials"],
                prior_text(one["prior"]),
                front_text(one),
                one["advice"],
            )
            for one in parameters
        ],
    )
    for name, one in objectives.items():
        told = one["why"] or (
            f"the values of the best {one['best']} finished trials against those of all {one['trials']}"
        )
        output.result(f"{name}: {told}")
