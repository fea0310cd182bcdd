"""`raysys report`: a run as one file, to send and to keep."""

from typing import Annotated

import typer

from raysys.cli import output
from raysys.errors import UsageError


def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN [RUN...]", help="the run's folder or URI; others: to compare")
    ],
    path: Annotated[
        str, typer.Option("-o", "--output", metavar="PATH", help="the HTML file, a local path or URI")
    ],
    force: Annotated[bool, typer.Option("--force", help="replace the file if it is there")] = False,
) -> None:
    """Write a run's front, budgets, spend and methods text into one HTML file, of about 5 MB.

    It opens offline in any browser, prints, and asks nobody for anything: the program that draws the charts,
    plotly.js, is most of it. All numbers are in tables, too. The run may go on meanwhile: the file says as of
    when it is. With several runs the first one's report also compares them, as raysys compare does.
    """
    from pyarrow.fs import FileType

    from raysys.figures.report import report_html
    from raysys.files import file_info, write_atomic
    from raysys.store.layout import open_storage
    from raysys.store.reader import read_run

    filesystem, file = open_storage(path)
    kind = file_info(filesystem, file).type
    if kind is FileType.Directory or (kind is FileType.File and not force):
        raise UsageError(
            f"{file} exists",
            "it is a folder" if kind is FileType.Directory else "a report replaces nothing unasked",
            "give another -o" if kind is FileType.Directory else "give another -o, or --force",
        )
    run, *others = [read_run(one) for one in runs]
    content = report_html(run, tuple(others)).encode()
    write_atomic(filesystem, file, lambda stream: stream.write(content))
    output.result(f"{file}: {len(content) / 1e6:.1f} MB, run {run.name!r} ({run.manifest.state})")
