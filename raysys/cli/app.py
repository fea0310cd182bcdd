"""The command line `raysys`: every command is a function in a module of this package, registered here.

A command module imports at its top what costs little (typer, `cli.output`, `errors`, `records`); torch,
ray, optuna, pyarrow and our own modules that need them are imported inside the command's function, so that
`raysys --help` is quick. A command is named as its function, prints through `cli.output`, raises
`RaysysError` for what a person can mend (its `exit_code` becomes the process's), and `typer.Exit(code)` for
any other code than 0. To add one, register it below.
"""

import logging
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from raysys.cli import (
    audit,
    compare,
    dashboard,
    deploy,
    doctor,
    export,
    front,
    importance,
    output,
    report,
    runs,
    spaces,
    stop,
    teacher,
    trial,
    tune,
)
from raysys.errors import RaysysError, UsageError

app = typer.Typer(
    name="raysys",
    help="How good a student can you distil from a black-box classifier, for how many queries?",
    epilog="Exit codes: 0 done, 1 unexpected, 2 usage, 3 a check does not hold, 4 a cap was reached, "
    "5 cannot resume, 6 cluster or teacher unreachable, 130/143 interrupted.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    tune.tune,
    trial.trial,
    spaces.spaces,
    runs.ls,
    runs.show,
    stop.stop,
    front.front,
    compare.compare,
    report.report,
    importance.importance,
    export.export,
    audit.audit,
    doctor.doctor,
    dashboard.dashboard,
    deploy.deploy,
):
    app.command()(command)
app.add_typer(teacher.app, name="teacher")


@app.callback()
def options(
    context: typer.Context,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            count=True,
            show_default=False,
            help="More log lines; -vv also tracebacks. May stand anywhere.",
        ),
    ] = 0,
) -> None:
    """Options of every command."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    told = logging.StreamHandler(sys.stderr)
    told.setLevel(level)  # and not the loggers' alone: a run's log takes more
    logging.basicConfig(
        level=level, handlers=[told], format="%(levelname)s %(name)s: %(message)s", force=True
    )
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every failure is told in a few lines on stderr."""
    args = sys.argv[1:] if argv is None else list(argv)
    flags = [arg for arg in args if re.fullmatch("-v+", arg)]
    try:
        code = app(
            [*flags, *(arg for arg in args if arg not in flags)], prog_name="raysys", standalone_mode=False
        )
    except typer.TyperException as failure:
        output.error(
            UsageError(failure.format_message(), hint="raysys --help shows the commands and options")
        )
        return UsageError.exit_code
    except RaysysError as failure:
        _trace(flags)
        output.error(failure)
        return failure.exit_code
    except Exception as failure:
        _trace(flags)
        text = str(failure).strip().partition("\n")[0]
        output.error(
            RaysysError(
                f"{type(failure).__name__}: {text}", "this was not expected", "run with -vv for the traceback"
            )
        )
        return RaysysError.exit_code
    return code if isinstance(code, int) else 0


def _trace(flags: Sequence[str]) -> None:
    """Print the traceback of the exception at hand when `-vv` was given."""
    if sum(len(flag) - 1 for flag in flags) >= 2:
        traceback.print_exc()
