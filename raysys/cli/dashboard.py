"""`raysys dashboard`: look at runs in a browser."""

import errno
import importlib.util
import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from raysys.errors import RaysysError, UsageError, nearest

FIRST_PORT, PORTS = 8501, 20
"""Where a free port is looked for when none is named."""

_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
"""Each script of a page runs in a thread of its own: what it took goes back when it ends. Without a fixed
threshold, glibc would soon take large arrays from its heap, which then stays as large as it ever was."""

LEAST_TOKEN = 16
"""Characters of a token that nobody guesses."""


def dashboard(
    storage: Annotated[
        str, typer.Argument(envvar="RAYSYS_STORAGE", help="the folder or URI that holds the runs")
    ] = "runs",
    run: Annotated[str | None, typer.Option("--run", metavar="NAME", help="the run to begin with")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=f"default: {FIRST_PORT}, or the next free one")
    ] = None,
    host: Annotated[
        str, typer.Option(help="the address to listen at; one that others reach needs --token-file")
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"a file with {LEAST_TOKEN} or more characters, which a browser must know"),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="do not open a browser window")] = False,
) -> None:
    """Serve the dashboard on 127.0.0.1 until Ctrl-C. It only reads."""
    from raysys.store.runs import latest_layouts

    names = [layout.name for layout in latest_layouts(storage)]
    if run is not None and run not in names:
        raise UsageError(f"there is no run {run} in {storage}", nearest(run, names), "raysys ls lists them")
    if token_file is not None:
        _check_token(token_file)
    elif not _is_loopback(host):
        raise UsageError(
            f"others could reach {host}, and there is no token",
            "a dashboard shows all runs of a storage to whoever opens it",
            "write one: (umask 077; openssl rand -hex 24 > token), then: --token-file token; "
            "or stay on 127.0.0.1 and come by ssh -L",
        )
    port = _free_port(host, port)
    address = url(host, port, run)
    if not _is_loopback(host):
        typer.echo(
            "warning: this is plain HTTP, which others on the network can read; put a TLS proxy before it",
            err=True,
        )
    if token_file is not None:
        typer.echo(f"A browser gives the token once: {address}{'&' if run else '?'}token=...", err=True)
    browse = not no_browser and token_file is None
    program, environment = command(
        storage, host, str(port), address, "open" if browse else "", str(token_file or "")
    )
    os.execve(program[0], program, environment)


def command(*given: str) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of the process that serves. Raises RaysysError where it is not installed.

    The package is found where this process found it, not in the working directory.
    """
    spec = importlib.util.find_spec("dashboard.server")
    if spec is None or spec.origin is None:
        raise RaysysError(
            "the dashboard is not installed", "the package lacks dashboard/server.py", "reinstall raysys"
        )
    paths = [str(Path(spec.origin).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**_MEMORY, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return [sys.executable, "-P", "-m", "dashboard.server", *given], environment


def url(host: str, port: int, run: str | None) -> str:
    """The address to open; a host that stands for all addresses of the machine is told by its name."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + ("" if run is None else f"?run={quote(run, safe='')}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_token(file: Path) -> None:
    """Raises UsageError for a token that is no secret."""
    try:
        token, mode = file.read_text().strip(), file.stat().st_mode
    except (OSError, UnicodeDecodeError) as failure:
        raise UsageError(
            f"cannot read the token in {file}", str(failure), "name a text file with the token"
        ) from None
    if mode & 0o077:
        raise UsageError(f"others can read {file}", "whoever knows the token sees all", f"chmod 600 {file}")
    if len(token) < LEAST_TOKEN or not token.isprintable():
        raise UsageError(
            f"the token in {file} is not good",
            f"it needs {LEAST_TOKEN} or more characters in one line",
            f"openssl rand -hex 24 > {file}",
        )


def _free_port(host: str, port: int | None) -> int:
    """`port`, or the first free one. Raises UsageError where it, or the host, cannot be listened at."""
    wanted = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]
    for one in wanted:
        try:
            socket.create_server(
                (host, one), family=socket.AF_INET6 if ":" in host else socket.AF_INET
            ).close()
            return one
        except OSError as failure:
            if failure.errno != errno.EADDRINUSE:
                why = failure.strerror or str(failure)
                raise UsageError(
                    f"cannot listen at {host}:{one}", why, "give another --host or --port"
                ) from None
    used = f"port {port} is" if port is not None else f"the ports {wanted[0]} to {wanted[-1]} are"
    raise UsageError(f"{used} in use", "another program listens there", "give another one with --port")
