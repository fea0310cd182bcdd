"""One driver a run: a file lock that the kernel lets go when its owner dies, however it dies."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pyarrow.fs import LocalFileSystem

from raysys.errors import ResumeError
from raysys.store.layout import RunLayout


@contextmanager
def run_lock(layout: RunLayout) -> Iterator[None]:
    """Hold the run's lock. Raises ResumeError, naming the owner, while another process has it."""
    if not isinstance(layout.filesystem, LocalFileSystem):
        yield  # a URI has no lock that ends with its owner; the ledger keeps a second writer out
        return
    with layout.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ResumeError(
                f"another process works on {layout.location}",
                f"its owner is {file.read().strip()}",
                "wait, or end it",
            ) from None
        file.seek(0)
        file.truncate()
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        file.flush()
        yield
