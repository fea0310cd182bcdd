"""Files that a reader sees whole or not at all, on any filesystem."""

import errno
import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyarrow.fs import FileInfo, FileSelector, FileSystem, LocalFileSystem, SubTreeFileSystem

from raysys.errors import StorageError

OBJECT_STORES = ("s3", "gcs", "abfs")
"""Filesystems of `pyarrow.fs` whose files appear when their stream is closed, and that cannot rename."""


def write_atomic(filesystem: FileSystem, path: Path, write: Callable[[Any], object]) -> None:
    """Create or replace `path` with what `write(stream)` writes, whole or not at all; its folder is made.

    A file gets a temporary name, is synced and renamed: on a local filesystem it is on the disk when this
    returns. An object is sent as one piece, made in memory before. Raises StorageError (disk full,
    read-only, ...); `path` is then as it was before.
    """
    try:
        if is_object_store(filesystem):
            # Closing the stream publishes what it got, also where an error leaves it: the bytes come first.
            buffer = io.BytesIO()
            write(buffer)
            with filesystem.open_output_stream(str(path)) as stream:
                stream.write(buffer.getbuffer())
        else:
            _write_and_rename(filesystem, path, write)
    except OSError as failure:
        full = failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = f"the disk is full: {path} was not written" if full else f"cannot write {path}"
        raise StorageError(
            what,
            str(failure).partition("\n")[0],
            "free some space, then resume the run" if full else "check that the folder can be written",
        ) from failure


def read_bytes(filesystem: FileSystem, path: Path) -> bytes | None:
    """What the file holds, None where there is none. Raises StorageError when it cannot be read."""
    try:
        with open_plain(filesystem, path) as stream:
            return bytes(stream.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as failure:
        raise StorageError(f"cannot read {path}", *_why(failure)) from failure


def open_plain(filesystem: FileSystem, path: Path) -> Any:
    """A file for reading. Raises OSError, also for what is no plain file: a pipe never answers."""
    if is_local(filesystem) and not path.is_file() and path.exists():
        raise PermissionError(f"{path} is not opened: it is no plain file")
    return filesystem.open_input_file(str(path))


def list_folder(filesystem: FileSystem, folder: Path, recursive: bool = False) -> list[FileInfo]:
    """What lies in the folder, nothing where there is none. Raises StorageError when it cannot be listed."""
    selector = FileSelector(str(folder), allow_not_found=True, recursive=recursive)
    try:
        found: list[FileInfo] = filesystem.get_file_info(selector)
    except OSError as failure:
        raise StorageError(f"cannot list {folder}", *_why(failure)) from failure
    return found


def file_info(filesystem: FileSystem, path: Path) -> FileInfo:
    """What the storage tells of a file, also that there is none. Raises StorageError when it does not."""
    try:
        return filesystem.get_file_info(str(path))
    except OSError as failure:
        raise StorageError(f"cannot look at {path}", str(failure).partition("\n")[0]) from failure


def delete(filesystem: FileSystem, path: Path | str) -> None:
    """Remove a file, where it is there. Raises StorageError when it cannot be."""
    try:
        filesystem.delete_file(str(path))
    except FileNotFoundError:
        return
    except OSError as failure:
        raise StorageError(f"cannot remove {path}", str(failure).partition("\n")[0]) from failure


def _why(failure: OSError) -> tuple[str, str]:
    """Why it failed, and what to do."""
    why = str(failure).partition("\n")[0]
    if "ACCESS_DENIED" in why or "AWS Error ACCESS" in why:
        return why, "credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_PROFILE, a role"
    if isinstance(failure, PermissionError):
        return why, "what is read must lie in the storage itself, and you must be allowed to read it"
    return why, "try again when it can be reached; nothing was changed"


def is_local(filesystem: FileSystem) -> bool:
    """True for the local filesystem, also through a handler in Python that has its name."""
    return filesystem.type_name in ("local", "py::local")


def is_object_store(filesystem: FileSystem) -> bool:
    """True where an object appears at once, when its stream is closed: S3, GCS, Azure."""
    while isinstance(filesystem, SubTreeFileSystem):
        filesystem = filesystem.base_fs
    return filesystem.type_name in OBJECT_STORES


def _write_and_rename(filesystem: FileSystem, path: Path, write: Callable[[Any], object]) -> None:
    # A worker that is lost but not dead may write the same file: each process of each node has its own name.
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    try:
        filesystem.create_dir(str(path.parent), recursive=True)
        with filesystem.open_output_stream(str(temporary)) as stream:
            write(stream)
        _sync(filesystem, temporary, os.O_RDWR)
        filesystem.move(str(temporary), str(path))
        _sync(filesystem, path.parent, os.O_RDONLY)
    except BaseException:
        _discard(filesystem, temporary)
        raise


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
