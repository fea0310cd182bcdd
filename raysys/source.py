"""Which code of raysys this is."""

import hashlib
import socket
from functools import cache
from pathlib import Path

from raysys import __version__
from raysys.errors import UnreachableError


@cache
def source_sha256() -> str:
    """Hash of all of raysys' Python files: with equal ones, two machines run the same raysys."""
    root = Path(__file__).parent
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name, content = path.relative_to(root).as_posix().encode(), path.read_bytes()
        whole.update(b"%d %b %d %b" % (len(name), name, len(content), content))
    return whole.hexdigest()


def code_id() -> str:
    """Version and source, for a person to compare: `0.1.0 (source 1a2b3c4d5e6f)`."""
    return f"{__version__} (source {source_sha256()[:12]})"


def check_code(wanted: str) -> None:
    """Raise UnreachableError where this machine has another raysys than the driver, whose id is `wanted`."""
    if code_id() != wanted:
        raise UnreachableError(
            f"the node {socket.gethostname()} has another raysys than the driver",
            f"the driver has {wanted}, the node {code_id()} in {Path(__file__).parent}",
            "install the same one there (raysys doctor --address compares all nodes),"
            " then: raysys tune --resume RUN",
        )
