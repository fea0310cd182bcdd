"""`raysys report`: a run as one file, to send and to keep."""

from typing import Annotated

import typer

from raysys.cli import output
from raysys.cli.new_file import named, new_place, write


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
    from raysys.figures.report import report_html
    from raysys.store.reader import read_run

    filesystem, file = new_place(path, force)
    run, *others = [read_run(one) for one in runs]
    content = report_html(run, tuple(others)).encode()
    write(filesystem, file, content)
    output.result(
        f"{named(path, file)}: {len(content) / 1e6:.1f} MB, run {run.name!r} ({run.manifest.state})"
    )
