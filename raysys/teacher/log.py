"""Where the journal's lines lie: one local file that is appended to, or objects below a URI."""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from pyarrow.fs import FileSelector, FileSystem, FileType

from raysys.errors import StorageError

FILE = "journal.jsonl"
LOCK_PATIENCE_S = 30.0
"""How long to wait for a dying owner to let go of the journal."""
SEGMENTS = 64
"""More segments than this are merged when the journal is opened."""


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
        return file_lines(self._path)

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


class SegmentLog:
    """One object a line below `folder` of any `pyarrow.fs` filesystem: object stores cannot append.

    A node may die with all its disks: what was appended is on the storage. Names are `NUMBER-WRITER.jsonl`,
    so that a writer that was believed dead cannot write over its follower's lines, and
    `NUMBER.merged.jsonl` for all lines up to a number. There is no lock: the run's own keeps a second
    driver out.
    """

    def __init__(self, filesystem: FileSystem, folder: Path) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._writer = uuid.uuid4().hex[:8]
        self.name = str(folder)
        filesystem.create_dir(str(folder), recursive=True)
        segments = segment_names(filesystem, folder)
        if len(segments) > SEGMENTS:
            segments = [self._merge(segments)]
        self._next = int(segments[-1][:8]) + 1 if segments else 0

    def lines(self) -> Iterator[bytes]:
        """See `Log.lines`."""
        return segment_lines(self._filesystem, self._folder)

    def cut(self, size: int) -> None:
        """See `Log.cut`: only the last segment can be torn, by a writer that died."""
        for name in segment_names(self._filesystem, self._folder):
            path = str(self._folder / name)
            kept = size
            size -= self._filesystem.get_file_info(path).size
            if size < 0 and kept > 0:
                with self._filesystem.open_input_stream(path) as stream:
                    good = stream.read(kept)
                self._write(name, good)
            elif size < 0:
                self._filesystem.delete_file(path)

    def append(self, line: bytes, sync: bool) -> None:
        """See `Log.append`."""
        self._write(f"{self._next:08d}-{self._writer}.jsonl", line)
        self._next += 1

    def close(self) -> None:
        """See `Log.close`."""

    def _merge(self, segments: list[str]) -> str:
        name = f"{segments[-1][:8]}.merged.jsonl"
        whole = b"".join(_read(self._filesystem, self._folder, segments))
        if not whole.endswith(b"\n"):
            return segments[-1]  # its torn end is cut off first
        self._write(f"{name}.part", whole)  # half of it must not stand for all that it replaces
        self._filesystem.move(str(self._folder / f"{name}.part"), str(self._folder / name))
        for segment in segments:
            self._filesystem.delete_file(str(self._folder / segment))
        return name

    def _write(self, name: str, data: bytes) -> None:
        with self._filesystem.open_output_stream(str(self._folder / name)) as stream:
            stream.write(data)


def file_lines(path: Path) -> Iterator[bytes]:
    """The lines of a local journal; none where there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            yield line
            if not line.endswith(b"\n"):
                return  # being written just now: another read would find the line's rest


def segment_names(filesystem: FileSystem, folder: Path) -> list[str]:
    """The segments that count, oldest first: the last merged one, and what came after it."""
    found = filesystem.get_file_info(FileSelector(str(folder), allow_not_found=True))
    names = sorted(Path(info.path).name for info in found if info.type == FileType.File)
    names = [name for name in names if name.endswith(".jsonl")]
    merged = [name for name in names if name.endswith(".merged.jsonl")]
    if not merged:
        return names
    return [merged[-1], *(name for name in names if name[:8] > merged[-1][:8])]


def segment_lines(filesystem: FileSystem, folder: Path) -> Iterator[bytes]:
    """The lines of a journal in segments; none where there are none."""
    while True:
        names = segment_names(filesystem, folder)
        try:
            segments = list(_read(filesystem, folder, names))
        except FileNotFoundError:
            continue  # they were merged between the two looks
        # A listing that was taken while they were merged may lack old ones and new one alike.
        if names[:1] == segment_names(filesystem, folder)[:1]:
            break
    for segment in segments:
        yield from segment.splitlines(keepends=True)


def _read(filesystem: FileSystem, folder: Path, names: list[str]) -> Iterator[bytes]:
    for name in names:
        with filesystem.open_input_stream(str(folder / name)) as stream:
            yield stream.read()


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
