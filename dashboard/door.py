"""The filesystem of the pages: it only reads, and only below the storage.

What lies in a run may come from someone else: a link out of the storage, a pipe that never answers.
"""

import os
from pathlib import Path
from typing import Any, NoReturn

from pyarrow.fs import (
    FileInfo,
    FileSelector,
    FileSystem,
    FileSystemHandler,
    FileType,
    PyFileSystem,
)

from raysys.files import is_local

MOST_BYTES = 2**30
"""A larger file is not opened: a part of a table is read into memory as a whole."""


def door(filesystem: FileSystem, root: Path) -> FileSystem:
    """`filesystem` without writing, and without anything that is not below `root` when links are followed.

    What is refused raises PermissionError; in a listing it has the type Unknown.
    """
    return PyFileSystem(_Door(filesystem, root))


class _Door(FileSystemHandler):  # type: ignore[misc]
    """Paths are those of the real filesystem."""

    def __init__(self, filesystem: FileSystem, root: Path) -> None:
        self._filesystem = filesystem
        self._links = is_local(filesystem)
        self._root = self._real(str(root))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Door) and (self._filesystem, self._root) == (other._filesystem, other._root)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def get_type_name(self) -> str:
        """The real one's, by which readers know where a run's ledger lies."""
        return str(self._filesystem.type_name)

    def normalize_path(self, path: str) -> str:
        """See `FileSystem.normalize_path`."""
        return str(self._filesystem.normalize_path(path))

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        """See `FileSystem.get_file_info`."""
        told = iter(self._filesystem.get_file_info([path for path in paths if self._inside(path)]))
        return [next(told) if self._inside(path) else FileInfo(path, FileType.Unknown) for path in paths]

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        """See `FileSystem.get_file_info`; folders that are links are not followed."""
        self._check(selector.base_dir)
        if not self._links:
            found: list[FileInfo] = self._filesystem.get_file_info(selector)
            return found
        folder = FileSelector(selector.base_dir, allow_not_found=selector.allow_not_found)
        entries = self._filesystem.get_file_info(folder)
        found = [self._seen(info) for info in entries]
        for info in found if selector.recursive else []:
            if info.type is FileType.Directory and not Path(info.path).is_symlink():
                below = FileSelector(info.path, allow_not_found=True, recursive=True)
                found = [*found, *self.get_file_info_selector(below)]
        return found

    def open_input_stream(self, path: str) -> Any:
        """See `FileSystem.open_input_stream`."""
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> Any:
        """See `FileSystem.open_input_file`."""
        real = self._check(path)
        if self._links and not real.is_file() and real.exists():
            raise PermissionError(f"{path} is not opened: it is no plain file")
        stream = self._filesystem.open_input_file(str(real))
        if (size := stream.size()) > MOST_BYTES:
            stream.close()
            raise PermissionError(f"{path} is not opened: {size:,} bytes are more than {MOST_BYTES:,}")
        return stream

    def create_dir(self, path: str, recursive: bool) -> NoReturn:
        """Refused."""
        raise _refused(path)

    def delete_dir(self, path: str) -> NoReturn:
        """Refused."""
        raise _refused(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> NoReturn:
        """Refused."""
        raise _refused(path)

    def delete_root_dir_contents(self) -> NoReturn:
        """Refused."""
        raise _refused("/")

    def delete_file(self, path: str) -> NoReturn:
        """Refused."""
        raise _refused(path)

    def move(self, src: str, dest: str) -> NoReturn:
        """Refused."""
        raise _refused(src)

    def copy_file(self, src: str, dest: str) -> NoReturn:
        """Refused."""
        raise _refused(dest)

    def open_output_stream(self, path: str, metadata: object) -> NoReturn:
        """Refused."""
        raise _refused(path)

    def open_append_stream(self, path: str, metadata: object) -> NoReturn:
        """Refused."""
        raise _refused(path)

    def _real(self, path: str) -> Path:
        """The path that is opened: an object's has neither links nor a way up."""
        return Path(os.path.realpath(path) if self._links else os.path.normpath(path))

    def _inside(self, path: str) -> bool:
        return self._real(path).is_relative_to(self._root)

    def _check(self, path: str) -> Path:
        real = self._real(path)
        if not real.is_relative_to(self._root):
            raise PermissionError(f"{path} is not opened: it leads out of {self._root}")
        return real

    def _seen(self, info: FileInfo) -> FileInfo:
        """An entry of a folder that is inside: only a link can lead out."""
        if Path(info.path).is_symlink() and not self._inside(info.path):
            return FileInfo(info.path, FileType.Unknown)
        return info


def _refused(path: str) -> PermissionError:
    return PermissionError(f"{path} is left as it is: the dashboard only reads")
