"""Which code of raysys this is."""

import hashlib
from functools import cache
from pathlib import Path

from raysys import __version__


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
