"""Where the journal's lines lie: in one local file that is appended to. `segment_log` has the other place."""

import contextlib
import fcntl
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from pyarrow.fs import FileSystem, LocalFileSystem

from raysys.errors import StorageError
from raysys.files import open_plain

FILE = "journal.jsonl"
_BUFFER = 1 << 20

LOCK_PATIENCE_S = 30.0
"""How long to wait for a dying owner to let go of the journal."""


class Log(Protocol):
    """Lines in the order in which they were appended; one writer at a time."""

    name: str

    def lines(self) -> Iterator[bytes]:
        """All lines, oldest first; the last one may be torn."""
        ...

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes only."""
        ...

    def append(self, line: bytes, sync: bool) -> None:
        """Add a line, whole or not at all; with `sync` it survives a power cut. Raises OSError."""
        ...

    def close(self) -> None:
        """Let another writer in."""
        ...


class LocalLog:
    """A file on a local or shared folder, locked while it is open.

    Raises StorageError when it cannot be made, or when another process keeps it locked for longer than
    `patience_s`.
    """

    def __init__(self, folder: Path, patience_s: float = LOCK_PATIENCE_S) -> None:
        self._path = folder / FILE
        self.name = str(self._path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b", buffering=0)
        except OSError as error:
            raise storage_error(self.name, error) from error
        try:
            for made in (folder, folder.parent):  # a new file is found again only if its folder is synced
                _sync_folder(made)
            _lock(self._file, self._path, patience_s)
        except StorageError:
            self._file.close()
            raise
        except OSError as error:  # locks do not work on every file system
            self._file.close()
            raise storage_error(self.name, error) from error
        self._end = os.fstat(self._file.fileno()).st_size

    def lines(self) -> Iterator[bytes]:
        """See `Log.lines`."""
        return file_lines(self._path, LocalFileSystem())

    def cut(self, size: int) -> None:
        """See `Log.cut`."""
        self._file.truncate(size)
        self._end = size

    def append(self, line: bytes, sync: bool) -> None:
        """See `Log.append`."""
        try:
            # What a failed write left behind goes first, or the next record would make it a torn middle.
            self._file.truncate(self._end)
            view = memoryview(line)
            while view:
                view = view[self._file.write(view) :]
            if sync:
                os.fsync(self._file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise
        self._end += len(line)

    def close(self) -> None:
        """See `Log.close`."""
        self._file.close()


def file_lines(path: Path, filesystem: FileSystem) -> Iterator[bytes]:
    """The lines of a journal in one file. Raises StorageError when it cannot be read."""
    try:
        with io.BufferedReader(open_plain(filesystem, path), _BUFFER) as file:
            for line in file:
                yield line
                if not line.endswith(b"\n"):
                    return  # being written just now: another read would find the line's rest
    except OSError as error:
        raise StorageError(f"cannot read the ledger {path}", str(error).partition("\n")[0]) from error


def storage_error(name: str, error: OSError) -> StorageError:
    """What a failed write means to a person."""
    return StorageError(
        f"cannot write the ledger {name}",
        str(error.strerror or error),
        "nothing was charged; free space, then: raysys tune --resume RUN",
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(file: BinaryIO, path: Path, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StorageError(
                    f"another process writes to {path}",
                    "a run has one teacher and one ledger",
                    "wait for the other run to end, or end it",
                ) from None
            time.sleep(0.1)
