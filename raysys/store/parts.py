"""A table as a folder of immutable, numbered Parquet parts: safe to read while it is written.

A part's name says for which numbers it stands and the CRC32 of its content: `part-FIRST-LAST-CRC32.parquet`.
So a damaged part, one whose content was swapped with another's, and one that is missing are all seen. An
older raysys wrote `part-NUMBER.parquet`, of which none of this is known.

A part is written under a hidden name and renamed. Now and then, all are merged into one that stands for all
their numbers; what it replaced goes only with the next merge, and is read where the merged part is damaged.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileInfo, FileSystem

from raysys.errors import StorageError
from raysys.files import delete, list_folder, read_bytes, write_atomic
from raysys.store.schema import LATER, concat
from raysys.store.soundness import sound_part

_NAME = re.compile(r"part-(\d{8,})(?:-(\d{8,})-([0-9a-f]{8}))?\.parquet")
_LISTINGS = 10
"""How often a reader lists again when a part went away under it (each time, merges came between)."""


@dataclass(frozen=True)
class Part:
    """A file that stands for the numbers `first` to `last`; `crc` is empty in names of an older raysys."""

    info: FileInfo
    first: int
    last: int
    crc: str


@dataclass(frozen=True)
class Rows:
    """All rows in the order in which they were written, and what is wrong with the parts.

    `damaged` parts (paths) cannot be read; `lost` counts the numbers whose rows no other part has.
    """

    table: pa.Table
    damaged: tuple[str, ...]
    lost: int


@dataclass(frozen=True)
class _Read:
    found: list[Part]
    tables: dict[str, pa.Table]
    """By path, of the parts whose rows together are the table; the others in `found` were not needed."""
    damaged: list[Part]


@dataclass(frozen=True)
class Parts:
    """The parts of one table in `folder`. One writer at a time; any number of readers."""

    filesystem: FileSystem
    folder: Path
    schema: pa.Schema

    def files(self) -> list[FileInfo]:
        """The parts that count, in the order in which they were written."""
        return [part.info for part in _tiles(self._found())]

    def append(self, table: pa.Table, number: int) -> None:
        """Write a part; it is durable when this returns. Raises StorageError."""
        self._write(table, number, number)

    def replace(self, table: pa.Table, number: int) -> None:
        """Write a part in the place of any that has its number. Raises StorageError."""
        for part in self._found():
            if part.first == number:
                delete(self.filesystem, part.info.path)
        self.append(table, number)

    def next_number(self) -> int:
        """A number above all parts."""
        return 1 + max((part.last for part in self._found()), default=0)

    def read(self) -> Rows:
        """All rows that are whole. Raises StorageError when the storage cannot be read."""
        read = self._read()
        damaged = tuple(part.info.path for part in read.damaged)
        return Rows(self._table(read), damaged, _lost(read))

    def merge(self, reduce: Callable[[pa.Table], pa.Table]) -> None:
        """Put one part with `reduce` of all rows in the place of all parts. Raises StorageError.

        What is damaged now, or lost, is not missed any more: who needs it must have asked before.
        """
        read = self._read()
        if len(read.tables) + len(read.damaged) + _lost(read) < 2:
            return
        self._write(reduce(self._table(read)), 1, max(part.last for part in read.found))
        needed = {*read.tables, *(part.info.path for part in read.damaged)}
        for part in read.found:
            if part.info.path not in needed:
                delete(self.filesystem, part.info.path)

    def content(self, info: FileInfo) -> bytes | None:
        """The bytes of a part, None when they do not match the checksum in its name.

        Raises FileNotFoundError when it is gone, StorageError when it cannot be read: that is no damage.
        """
        data = read_bytes(self.filesystem, Path(info.path))
        if data is None:
            raise FileNotFoundError(info.path)
        return data if _part(info).crc in ("", _crc(data)) else None

    def _found(self) -> list[Part]:
        """All visible parts, the widest before those that it replaced."""
        infos = list_folder(self.filesystem, self.folder)
        found = [_part(info) for info in infos if _NAME.fullmatch(info.base_name)]
        return sorted(found, key=lambda part: (part.first, -part.last, part.crc))

    def _read(self) -> _Read:
        """Read the widest parts; where one is damaged, those that it replaced, as far as they are there."""
        for _ in range(_LISTINGS):
            found, tables, damaged = self._found(), dict[str, pa.Table](), list[Part]()
            try:
                while True:
                    tiles = _tiles([part for part in found if part not in damaged])
                    new = [part for part in tiles if part.info.path not in tables]
                    if not new:
                        kept = {part.info.path: tables[part.info.path] for part in tiles}
                        return _Read(found, kept, damaged)
                    for part in new:
                        if (table := self._rows(part.info)) is None:
                            damaged.append(part)
                        else:
                            tables[part.info.path] = table
            except FileNotFoundError:
                continue
        raise StorageError(f"cannot read {self.folder}", "its parts keep going away")

    def _table(self, read: _Read) -> pa.Table:
        return concat(list(read.tables.values()), self.schema)

    def _rows(self, info: FileInfo) -> pa.Table | None:
        """The rows of one part, or None when it is damaged or not of this table."""
        if (data := self.content(info)) is None:
            return None
        try:
            table = pq.ParquetFile(pa.BufferReader(data)).read()
        except (OSError, pa.ArrowException):  # of what is in memory
            return None
        for name in LATER.keys() & set(self.schema.names) - set(table.column_names):
            missing = pa.scalar(LATER[name], self.schema.field(name).type)
            table = table.append_column(name, pa.repeat(missing, table.num_rows))
        return sound_part(table, self.schema)

    def _write(self, table: pa.Table, first: int, last: int) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        data = sink.getvalue()
        path = self.folder / f"part-{first:08d}-{last:08d}-{_crc(data)}.parquet"
        write_atomic(self.filesystem, path, lambda stream: stream.write(data))


def number_of(info: FileInfo) -> int:
    """The first number of a part."""
    return _part(info).first


def _part(info: FileInfo) -> Part:
    first, last, crc = re.fullmatch(_NAME, info.base_name).groups()  # type: ignore[union-attr]
    return Part(info, int(first), int(last or first), crc or "")


def _crc(data: bytes | pa.Buffer) -> str:
    return f"{zlib.crc32(data):08x}"


def _tiles(parts: Sequence[Part]) -> list[Part]:
    """Those parts whose numbers no wider one has, in the order of the numbers."""
    tiles: list[Part] = []
    for part in parts:
        if not tiles or part.last > tiles[-1].last:
            tiles.append(part)
    return tiles


def _lost(read: _Read) -> int:
    """How many numbers stand in no part that was read. Of old names, only what is there is known."""
    kept = [part for part in read.found if part.info.path in read.tables]
    old = [part.last for part in read.found if not part.crc]
    begun, end = max(old, default=0), max((part.last for part in read.found), default=0)
    there = sum(part.last - max(part.first - 1, begun) for part in kept if part.last > begun)
    unread = sum(not any(part.first <= number <= part.last for part in kept) for number in old)
    return end - begun - there + unread
