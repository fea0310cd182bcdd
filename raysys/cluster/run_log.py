"""The driver's log: raysys.log of a run."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow.fs import LocalFileSystem

from raysys.errors import RaysysError
from raysys.files import read_bytes, write_atomic
from raysys.store.layout import RunLayout


@contextmanager
def run_log(layout: RunLayout, say: Callable[[str], None]) -> Iterator[Path]:
    """The local file that a driver logs to: the run's own.

    What lies at a URI cannot be added to: there, a temporary file is the log until the driver ends. One that
    was killed leaves it behind, and the next driver on this machine goes on with it.
    """
    if isinstance(layout.filesystem, LocalFileSystem):
        yield layout.log
        return
    digest = hashlib.sha256(layout.location.encode()).hexdigest()[:8]
    path = Path(tempfile.gettempdir()) / f"raysys-{os.getuid()}-{layout.name}-{digest}.log"
    say(f"log {path}, until the run ends; then raysys.log in the run")
    path.touch()
    try:
        yield path
    finally:
        with contextlib.suppress(RaysysError):  # the storage may be what ended the run
            whole = (read_bytes(layout.filesystem, layout.log) or b"") + path.read_bytes()
            write_atomic(layout.filesystem, layout.log, lambda stream: stream.write(whole))
            path.unlink()
