"""`raysys dashboard` as a process, shared by the tests that ask it."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(storage: Path, *options: str, log: Path) -> Iterator[str]:
    """The address of the dashboard over a storage, until the context ends; what it says is in `log`."""
    port = free_port()
    command = [sys.executable, "-m", "raysys", "dashboard", str(storage), "--port", str(port), "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with (
        log.open("w") as stream,
        subprocess.Popen([*command, *options], stdout=stream, stderr=stream, env=environment) as server,
    ):
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/_stcore/health", server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait_until_up(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except HTTPError:
            return  # it answers, though not without a token
        except (URLError, TimeoutError):
            try:
                server.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
    pytest.fail(f"the dashboard ended: {log.read_text()}")
