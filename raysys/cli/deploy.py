"""`raysys deploy`: files that start raysys on machines of yours."""

import sys
from importlib.resources import files
from typing import Annotated

import typer

from raysys.cli import output
from raysys.errors import UsageError


def deploy(name: Annotated[str | None, typer.Argument(help="a file to print")] = None) -> None:
    """List the files to start clusters with, or print one: raysys deploy slurm.sh > slurm.sh.

    Each says at its top how it is used, and what in it is yours to fill in.
    """
    texts = {
        one.name: one.read_text() for one in files("raysys").joinpath("deploy").iterdir() if one.is_file()
    }
    if name is None:
        output.table(("file", "use"), [(known, _use(texts[known])) for known in sorted(texts)])
    elif name in texts:
        sys.stdout.write(texts[name])
    else:
        raise UsageError(f"there is no file {name}", hint=f"choose one of {', '.join(sorted(texts))}")


def _use(text: str) -> str:
    """The first line of a file's opening comment."""
    return next(line for line in text.splitlines() if line.startswith("# ")).removeprefix("# ")
