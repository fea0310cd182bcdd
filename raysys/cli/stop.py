"""`raysys stop`: end a run from another terminal, on whatever machine its driver is."""

import os
import shlex
import socket
import time
from typing import TYPE_CHECKING, Annotated

import typer

from raysys.cli import output
from raysys.errors import UnreachableError

if TYPE_CHECKING:
    from raysys.store.driver import Driver
    from raysys.store.layout import RunLayout

_LOOK_S = 0.5


def stop(
    run: Annotated[str, typer.Argument(help="the run's folder or URI")],
    now: Annotated[
        bool, typer.Option("--now", help="at once, as a second Ctrl-C: without a summary there")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """End a run softly, as Ctrl-C does, and wait until its driver has saved all and let go.

    A run that nobody works on is left as it is. Exit 6 when its driver does not hear.
    """
    from raysys.store.driver import StopRequest, read_driver, write_record
    from raysys.store.layout import RunLayout
    from raysys.store.manifest import read_manifest

    layout = RunLayout.open(run)
    read_manifest(layout)  # a folder that is no run is refused
    driver = read_driver(layout)
    working = driver is not None and driver.alive
    if driver is not None and working:
        asked_by = f"process {os.getpid()} on {socket.gethostname()}"
        write_record(layout, StopRequest(token=driver.token, now=now, asked_by=asked_by))
        output.note(f"asked {driver} to end {'at once' if now else 'softly'}; waiting for it")
        _wait(layout, driver)
    state = read_manifest(layout).state
    if json:
        output.print_json({"run": layout.location, "stopped": working, "state": state})
    elif working:
        output.result(f"{layout.location} is {state}; go on with:  raysys tune --resume {shlex.quote(run)}")
    else:
        last = f"; {driver} was last heard of at {driver.beat:%Y-%m-%d %H:%M:%S} UTC" if driver else ""
        output.result(f"nobody works on {layout.location} ({state}){last}")
        if state != "finished":
            output.result(f"go on with:  raysys tune --resume {shlex.quote(run)}")


def _wait(layout: "RunLayout", driver: "Driver") -> None:
    """Until the driver has let go of the run. Raises UnreachableError when it is silent instead."""
    from raysys.store.driver import read_driver

    while (found := read_driver(layout)) is not None and found.token == driver.token:
        if not found.alive:
            raise UnreachableError(
                f"{found} does not hear",
                f"its last sign of life is of {found.beat:%Y-%m-%d %H:%M:%S} UTC",
                "it is dead, or cut off from the storage: raysys tune --resume goes on without it",
            )
        time.sleep(_LOOK_S)
