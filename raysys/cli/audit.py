"""`raysys audit`: replay the ledger against the reports."""

from typing import Annotated

import typer

from raysys.cli import output
from raysys.errors import CheckError

_SHOWN = 10


def audit(
    run: Annotated[str, typer.Argument(help="the run's folder or URI")],
    teacher_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="the teacher's server, if it is elsewhere or moved: ask its counter"
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Check ledger, reports, checkpoints and the server's counter; exit code 3 if they differ."""
    from raysys.cluster.evidence import gather
    from raysys.store.audit import audit as compare

    snapshot, evidence = gather(run, teacher_url, output.note)
    result = compare(snapshot, evidence)
    if json:
        output.print_json(result.as_dict())
    else:
        columns = ("uid", "status", "charged", "executed", "orphaned", "budget", "reported")
        rows = [tuple(getattr(trial, column) for column in columns) for trial in result.trials]
        output.table(columns, rows)
        output.result(
            f"{result.charged:,} queries charged ({result.evaluation:,} of them for evaluation), "
            f"{result.executed:,} executed, {result.orphaned:,} orphaned"
        )
        if result.counted is not None:
            output.result(f"{result.counted:,} images counted by the teacher's own server")
    if result.mismatches:
        more = len(result.mismatches) - _SHOWN
        raise CheckError(
            f"the audit of {snapshot.name} found {len(result.mismatches)} mismatch(es)",
            "\n  ".join(result.mismatches[:_SHOWN]),
            f"and {more} more (--json lists all)" if more > 0 else "",
        )
    output.note("every charge is accounted for")
