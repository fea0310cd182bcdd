"""`raysys dashboard`: look at runs in a browser."""

import importlib.util
import os
import sys
from typing import Annotated

import typer

from raysys.errors import RaysysError

FLAGS = {
    "server.address": "127.0.0.1",  # nobody else reaches it
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "theme.light.primaryColor": "#0072B2",  # the front's blue; in the dark its lighter sister
    "theme.dark.primaryColor": "#56B4E9",
}
"""How the page is served: this machine only, nothing sent anywhere."""


def dashboard(
    storage: Annotated[
        str, typer.Argument(envvar="RAYSYS_STORAGE", help="the folder or URI that holds the runs")
    ] = "runs",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="default: 8501, or the next free one")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="do not open a browser window")] = False,
) -> None:
    """Serve the dashboard on 127.0.0.1 until Ctrl-C. It only reads."""
    os.execv(sys.executable, [sys.executable, *command(storage, port, no_browser)])


def command(storage: str, port: int | None, no_browser: bool) -> list[str]:
    """Arguments of Python that serve the dashboard."""
    spec = importlib.util.find_spec("dashboard.app")
    if spec is None or spec.origin is None:
        raise RaysysError(
            "the dashboard is not installed", "the package lacks dashboard/app.py", "reinstall raysys"
        )
    flags = {**FLAGS, "server.headless": str(no_browser).lower()}
    if port is not None:
        flags["server.port"] = str(port)
    hosts = ["--server.allowedHosts=localhost", "--server.allowedHosts=127.0.0.1"]  # against DNS rebinding
    options = [f"--{name}={value}" for name, value in flags.items()]
    return ["-m", "streamlit", "run", spec.origin, *options, *hosts, "--", storage]
