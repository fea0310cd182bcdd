"""What commands print: results to stdout, everything else to stderr.

With `--json` a command prints JSON on stdout and nothing else there: `raysys front RUN --json | jq` works.
"""

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from raysys.errors import RaysysError

PIPE_WIDTH = 200
"""Columns of a table that goes to a file or a pipe, where no terminal says how wide it is."""


def console(stream: TextIO) -> Console:
    """A rich console for `stream`; wide when it is no terminal, so that tables are not cut."""
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False)


def result(*lines: str) -> None:
    """Print result text to stdout, as it is."""
    for line in lines:
        console(sys.stdout).print(line, markup=False, soft_wrap=True)


def note(*lines: str) -> None:
    """Print progress or a remark to stderr, as it is."""
    for line in lines:
        console(sys.stderr).print(line, markup=False, soft_wrap=True)


def share(value: float | None) -> str:
    """A share in [0, 1] in percent; `-` where it does not exist."""
    return "-" if value is None or math.isnan(value) else f"{value:.2%}"


def print_json(data: object, indent: int | None = None) -> None:
    """Print `data` as one JSON object on stdout, on one line unless indented. NaN is refused."""
    sys.stdout.write(json.dumps(data, allow_nan=False, indent=indent) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """Print a table to stdout. Numbers are aligned right; None is shown as an empty cell."""
    rows = [list(row) for row in rows]
    view = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        cells = [row[index] for row in rows if row[index] is not None]
        numeric = bool(cells) and all(isinstance(cell, int | float) for cell in cells)
        view.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        view.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    console(sys.stdout).print(view)


def error(failure: RaysysError) -> None:
    """Print what happened, why, and what to do about it, to stderr."""
    _problem("error", "bold red", failure)


def warning(what: str, why: str = "", hint: str = "") -> None:
    """Print a warning in the shape of an error, to stderr."""
    _problem("warning", "bold yellow", RaysysError(what, why, hint))


def _problem(kind: str, style: str, failure: RaysysError) -> None:
    stream = console(sys.stderr)
    stream.print(f"[{style}]{kind}:[/] {escape(str(failure))}", soft_wrap=True)
