"""`raysys spaces`: what can be searched."""

from typing import Annotated

import typer


def spaces(
    name: Annotated[str | None, typer.Argument(help="a space to show, by name or file")] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the spaces, or show one: parameters, ranges, conditions, defaults, objectives."""
