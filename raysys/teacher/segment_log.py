"""The journal's lines on an object store, where nothing can be appended to, renamed or locked.

    LEDGER/writers/TERM-ID                  one that opened the journal, by rising TERM
    LEDGER/TERM-ID/base.jsonl               the journal as this writer found it
    LEDGER/TERM-ID/00000000.jsonl           its lines, one an object
    LEDGER/TERM-ID/00000000-00000099.jsonl  the same ones once more, so that a reader opens few objects

    LEDGER/owner                            the name of the last one that got its base written

None but the last of these changes once it is there. The journal is what the last writer with a base has: base
and lines. So taking over is one object that appears, and whatever went wrong before it, the journal is as it
was. That there is an owner tells a journal that is gone from one that never began.

A writer that was believed dead is kept out of its follower's books. A follower first names itself in
`writers`, then reads. A writer looks there after each line, before anything comes of it: if it has a
follower, its line may have come too late, so it sends nothing, answers nothing, and writes no more. What it
had sent and answered before, the follower has read.
"""

import re
import uuid
import zlib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pyarrow.fs import FileSelector, FileSystem

from raysys.errors import CorruptRunError, StorageError
from raysys.files import list_folder, read_bytes, write_atomic

CHUNK = 100
"""Lines that are kept once more as one object."""
READERS = 16
"""Objects that are read at once."""
_LISTINGS = 10
"""How often a reader looks again where objects went away under it: each time, a writer took over."""
_WRITERS = "writers"
_WRITER = re.compile(r"\d{6}-[0-9a-f]{8}")
_BASE = "base.jsonl"
_OWNER = "owner"
_LINES = re.compile(r"(\d{8})(?:-(\d{8}))?\.jsonl")


class SegmentLog:
    """A `Log` below `folder` of any `pyarrow.fs` filesystem; `lines` and `cut` make it ready to append.

    After a line that may or may not have been written it refuses all others: who opens the journal next sees
    which. Raises OSError, and StorageError once it has a follower.
    """

    def __init__(self, filesystem: FileSystem, folder: Path) -> None:
        self.name = str(folder)
        self._filesystem = filesystem
        self._folder = folder
        terms = [int(name.partition("-")[0]) for name in (*self._writers(), *_segments(filesystem, folder))]
        self._writer = f"{max(terms, default=0) + 1:06d}-{uuid.uuid4().hex[:8]}"
        self._found = b""
        self._chunk: list[bytes] = []
        self._next = 0
        self._refusal: Exception | None = OSError("it must be read before it is written")
        self._send(folder / _WRITERS / self._writer, b"\n")

    def lines(self) -> Iterator[bytes]:
        """See `Log.lines`."""
        self._found = b"".join(segment_lines(self._filesystem, self._folder))
        yield from self._found.splitlines(keepends=True)

    def cut(self, size: int) -> None:
        """See `Log.cut`; from here on the journal is this writer's."""
        self._put(_BASE, self._found[:size])
        self._found = b""
        self._stop_if_followed()
        self._send(self._folder / _OWNER, self._writer.encode())
        with suppress(OSError, StorageError):  # they no longer count; the next writer removes them
            for name in {*self._writers(), *_segments(self._filesystem, self._folder)}:
                if name < self._writer:
                    self._forget(name)
        self._refusal = None

    def append(self, line: bytes, sync: bool) -> None:
        """See `Log.append`."""
        if self._refusal is not None:
            raise self._refusal
        try:
            self._put(f"{self._next:08d}.jsonl", line)
            self._stop_if_followed()
        except (OSError, StorageError) as error:
            self._refusal = error
            raise
        self._next += 1
        self._chunk.append(line)
        if len(self._chunk) == CHUNK:
            with suppress(OSError):  # the lines are there one by one
                self._put(f"{self._next - CHUNK:08d}-{self._next - 1:08d}.jsonl", b"".join(self._chunk))
            self._chunk.clear()

    def close(self) -> None:
        """See `Log.close`."""

    def _put(self, name: str, body: bytes) -> None:
        self._send(self._folder / self._writer / name, _sealed(self._writer, name, body))

    def _send(self, path: Path, content: bytes) -> None:
        try:
            write_atomic(self._filesystem, path, lambda stream: stream.write(content))
        except StorageError as error:
            raise OSError(error.why) from error

    def _stop_if_followed(self) -> None:
        if max(self._writers(), default="") > self._writer:
            raise StorageError(
                f"another process took over the ledger {self.name}",
                "a run has one teacher and one ledger; this one was believed dead",
                "nothing is lost: the other one goes on",
            )

    def _writers(self) -> list[str]:
        folder = FileSelector(str(self._folder / _WRITERS), allow_not_found=True)
        infos = self._filesystem.get_file_info(folder)
        return [info.base_name for info in infos if _WRITER.fullmatch(info.base_name)]

    def _forget(self, writer: str) -> None:
        with suppress(FileNotFoundError):
            self._filesystem.delete_dir(str(self._folder / writer))
        with suppress(FileNotFoundError):
            self._filesystem.delete_file(str(self._folder / _WRITERS / writer))


def in_segments(filesystem: FileSystem, folder: Path) -> bool:
    """True where a journal in segments is, also a copy that lacks a part. Raises StorageError."""
    names = [info.base_name for info in list_folder(filesystem, folder)]
    return any(name in (_WRITERS, _OWNER) or _WRITER.fullmatch(name) for name in names)


def segment_lines(filesystem: FileSystem, folder: Path) -> Iterator[bytes]:
    """The lines of a journal in segments; none where there are none.

    Raises CorruptRunError when an object is damaged or missing, StorageError when one cannot be read.
    """
    for _ in range(_LISTINGS):
        segments = _segments(filesystem, folder)
        owner = (read_bytes(filesystem, folder / _OWNER) or b"").decode()
        writer = max(owner, max(segments, default=""))
        if not writer:
            return
        names, missing = _in_order(segments.get(writer, set()))
        if not missing:
            paths = [folder / writer / name for name in names]
            with ThreadPoolExecutor(READERS) as pool:
                contents = list(pool.map(lambda path: read_bytes(filesystem, path), paths))
            # A listing of files that was taken while a writer took over may lack old ones and new ones.
            if None not in contents and max(_segments(filesystem, folder), default="") == writer:
                break
    else:
        raise _damaged(folder / writer / (missing or "*.jsonl"), "it is missing")
    for path, content in zip(paths, contents, strict=True):
        yield from _opened(path, content or b"").splitlines(keepends=True)


def _segments(filesystem: FileSystem, folder: Path) -> dict[str, set[str]]:
    """The objects of each writer that has any. Raises StorageError."""
    try:
        infos = filesystem.get_file_info(FileSelector(str(folder), allow_not_found=True, recursive=True))
    except OSError as error:
        raise StorageError(f"cannot read the ledger {folder}", str(error).partition("\n")[0]) from error
    found: defaultdict[str, set[str]] = defaultdict(set)
    for info in infos:
        writer, name = Path(info.path).parts[-2:]
        if _WRITER.fullmatch(writer) and (name == _BASE or _LINES.fullmatch(name)):
            found[writer].add(name)
    return found


def _in_order(names: set[str]) -> tuple[list[str], str]:
    """The base and the fewest objects with all lines, in their order; and the first that is missing."""
    spans: dict[int, tuple[int, str]] = {}
    for match in filter(None, map(_LINES.fullmatch, names)):
        first, last = int(match[1]), int(match[2] or match[1])
        spans[first] = max(spans.get(first, (0, "")), (last, match[0]))
    ordered, number = [_BASE], 0
    while number in spans:
        last, name = spans[number]
        ordered.append(name)
        number = last + 1
    if _BASE not in names:
        return ordered, _BASE
    return ordered, f"{number:08d}.jsonl" if max(spans, default=-1) > number else ""


def _sealed(writer: str, name: str, body: bytes) -> bytes:
    """An object that knows its place, its length and its checksum: none can stand for another."""
    return f"{writer}/{name} {len(body)} {zlib.crc32(body):08x}\n".encode() + body


def _opened(path: Path, content: bytes) -> bytes:
    """The lines of an object. Raises CorruptRunError."""
    body = content.partition(b"\n")[2]
    if content != _sealed(path.parent.name, path.name, body):
        raise _damaged(path, "it is not as it was written")
    return body


def _damaged(path: Path, why: str) -> CorruptRunError:
    return CorruptRunError(
        f"the ledger is damaged: {path}", why, "restore it from a backup; charges after it cannot be trusted"
    )
