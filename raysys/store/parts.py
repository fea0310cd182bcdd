"""A table as a folder of immutable, numbered Parquet parts: safe to read while it is written.

A part is written under a hidden name and renamed; parts are merged into one with a higher number before
the old ones go. So a reader sees every row at least once, and what was written later stands later.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileInfo, FileSelector, FileSystem

from raysys.files import write_atomic
from raysys.store.schema import LATER, concat

_NAME = re.compile(r"part-(\d{8,})\.parquet")
_LISTINGS = 10
"""How often a reader lists again when a part went away under it (each time, a merge came between)."""


@dataclass(frozen=True)
class Parts:
    """The parts of one table in `folder`. One writer at a time; any number of readers."""

    filesystem: FileSystem
    folder: Path
    schema: pa.Schema

    def files(self) -> list[FileInfo]:
        """The visible parts, in the order in which they were written."""
        selector = FileSelector(str(self.folder), allow_not_found=True)
        found = [info for info in self.filesystem.get_file_info(selector) if _NAME.fullmatch(info.base_name)]
        return sorted(found, key=number_of)

    def append(self, table: pa.Table, number: int) -> None:
        """Write a part; it is durable when this returns. Raises StorageError."""
        path = self.folder / f"part-{number:08d}.parquet"
        write_atomic(self.filesystem, path, lambda stream: pq.write_table(table, stream))

    def next_number(self) -> int:
        """A number above all parts."""
        files = self.files()
        return 1 + (number_of(files[-1]) if files else 0)

    def read(self) -> tuple[pa.Table, int]:
        """All rows in the order in which they were written, and how many parts cannot be read."""
        table, _, skipped = self._read()
        return table, skipped

    def merge(self, number: int, reduce: Callable[[pa.Table], pa.Table]) -> None:
        """Replace all readable parts by one with `reduce` of their rows. Raises StorageError."""
        table, files, _ = self._read()
        if len(files) > 1:
            self.append(reduce(table), number)
            for info in files:
                self.filesystem.delete_file(info.path)

    def _read(self) -> tuple[pa.Table, list[FileInfo], int]:
        """All rows, the files that they come from, and how many others cannot be read."""
        for _ in range(_LISTINGS):
            files = self.files()
            try:
                tables = [self._part(info) for info in files]
            except FileNotFoundError:
                continue
            good = [(info, table) for info, table in zip(files, tables, strict=True) if table is not None]
            table = concat([table for _, table in good], self.schema)
            return table, [info for info, _ in good], len(files) - len(good)
        raise FileNotFoundError(f"the parts in {self.folder} keep going away")

    def _part(self, info: FileInfo) -> pa.Table | None:
        """The rows of one part, or None when it is damaged or not of this table."""
        try:
            with self.filesystem.open_input_file(info.path) as stream:
                table = pq.ParquetFile(stream).read()
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException):
            return None
        for name in LATER.keys() & set(self.schema.names) - set(table.column_names):
            table = table.append_column(name, pa.repeat(LATER[name], table.num_rows))
        fits = all(
            name in table.column_names and table.schema.field(name).type == self.schema.field(name).type
            for name in self.schema.names
        )
        return table if fits else None


def number_of(info: FileInfo) -> int:
    """The number of a part."""
    match = _NAME.fullmatch(info.base_name)
    return int(match[1]) if match else 0
