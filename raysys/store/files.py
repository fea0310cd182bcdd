"""Writing files that a reader sees whole or not at all, on any filesystem."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyarrow.fs import FileSystem, LocalFileSystem

from raysys.errors import StorageError


def write_atomic(filesystem: FileSystem, path: Path, write: Callable[[Any], object]) -> None:
    """Create or replace `path` with what `write(stream)` writes: temporary name, sync, rename.

    The folder is created. On a local filesystem the content is on the disk when this returns. Raises
    StorageError (disk full, read-only, ...); `path` is then as it was before.
    """
    # A worker that is lost but not dead may write the same file: each process has a name of its own.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        filesystem.create_dir(str(path.parent), recursive=True)
        with filesystem.open_output_stream(str(temporary)) as stream:
            write(stream)
        _sync(filesystem, temporary, os.O_RDWR)
        filesystem.move(str(temporary), str(path))
        _sync(filesystem, path.parent, os.O_RDONLY)
    except OSError as failure:
        _discard(filesystem, temporary)
        full = failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = f"the disk is full: {path} was not written" if full else f"cannot write {path}"
        raise StorageError(
            what,
            str(failure).partition("\n")[0],
            "free some space, then resume the run" if full else "check that the folder can be written",
        ) from failure


def _sync(filesystem: FileSystem, path: Path, flags: int) -> None:
    """Put a local file or folder on the disk; other filesystems are durable when the stream is closed."""
    if not isinstance(filesystem, LocalFileSystem):
        return
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(filesystem: FileSystem, path: Path) -> None:
    try:
        filesystem.delete_file(str(path))
    except OSError:
        return  # never created, or the disk is gone: a hidden temporary file harms no reader
