"""Where commands write a file or folder that a person names with `-o`: nothing is replaced unasked."""

from pathlib import Path
from typing import TYPE_CHECKING

from raysys.errors import UsageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


def new_place(path: str, force: bool, folder: bool = False) -> tuple["FileSystem", Path]:
    """Filesystem and place of a new file or folder. Raises UsageError where something is.

    With `force` a file may be there, or a folder with files in it; never the one in place of the other.
    """
    from pyarrow.fs import FileType

    from raysys.files import file_info, list_folder
    from raysys.store.layout import open_storage

    filesystem, place = open_storage(path)
    found = file_info(filesystem, place).type
    if found is (FileType.File if folder else FileType.Directory):
        raise UsageError(
            f"{place} is a {'file' if folder else 'folder'}",
            f"a {'folder' if folder else 'file'} is to be written",
            "give another -o",
        )
    exists = list_folder(filesystem, place) if folder else found is not FileType.NotFound
    if exists and not force:
        raise UsageError(f"{place} exists", "nothing is replaced unasked", "give another -o, or --force")
    return filesystem, place


def write(filesystem: "FileSystem", file: Path, content: bytes) -> None:
    """Create or replace a file, whole or not at all. Raises StorageError."""
    from raysys.files import write_atomic

    write_atomic(filesystem, file, lambda stream: stream.write(content))


def named(path: str, place: Path) -> str:
    """What a person calls the place: a URI as it was given, else the whole path."""
    return path if "://" in path else str(place)
