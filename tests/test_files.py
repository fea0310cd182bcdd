"""Files are there whole or not at all, on every kind of filesystem."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import (
    AwsStandardS3RetryStrategy,
    FileSystem,
    LocalFileSystem,
    S3FileSystem,
    SubTreeFileSystem,
)
from s3_server import S3

from raysys.errors import StorageError
from raysys.files import delete, file_info, is_object_store, list_folder, read_bytes, write_atomic

Place = tuple[FileSystem, Path]


@pytest.fixture(params=["local", "other", "s3", "below s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A filesystem and a folder in it that is not there yet."""
    if request.param == "local":
        return LocalFileSystem(), tmp_path / "folder"
    if request.param == "other":
        return SubTreeFileSystem(str(tmp_path), LocalFileSystem()), Path("folder")
    filesystem, folder = request.getfixturevalue("s3").fresh()
    if request.param == "s3":
        return filesystem, folder
    return SubTreeFileSystem(str(folder.parent), filesystem), Path(folder.name)


def write(place: Place, content: bytes) -> None:
    write_atomic(place[0], place[1] / "file", lambda stream: stream.write(content))


def read(place: Place) -> bytes | None:
    return read_bytes(place[0], place[1] / "file")


def test_a_file_is_made_with_its_folder_and_replaced(place: Place) -> None:
    assert read(place) is None
    write(place, b"old and long")
    assert read(place) == b"old and long"
    write(place, b"new")
    assert read(place) == b"new"
    write(place, b"")
    assert read(place) == b""


def test_who_fails_half_way_leaves_what_was_there(place: Place) -> None:
    def fail(stream: Any) -> None:
        stream.write(b"half of it")
        raise ValueError("cut off")

    for known in (None, b"old"):
        with pytest.raises(ValueError, match="cut off"):
            write_atomic(place[0], place[1] / "file", fail)
        assert read(place) == known
        write(place, b"old")


def test_a_large_file_arrives_whole(place: Place) -> None:
    content = bytes(range(256)) * (12 * 2**20 // 256)  # more than one part of an upload
    write(place, content)
    assert read(place) == content


def test_a_bucket_that_is_not_there_is_a_storage_error(s3: S3) -> None:
    filesystem, _ = s3.fresh()
    with pytest.raises(StorageError, match=r"cannot write nobody/file\n.*NO_SUCH_BUCKET"):
        write((filesystem, Path("nobody")), b"x")


def test_object_stores_are_told_from_folders(s3: S3) -> None:
    filesystem, folder = s3.fresh()
    assert is_object_store(filesystem)
    assert is_object_store(SubTreeFileSystem(str(folder), filesystem))
    assert not is_object_store(LocalFileSystem())
    assert not is_object_store(SubTreeFileSystem("/", LocalFileSystem()))


def test_a_folder_is_listed_and_a_file_goes(place: Place) -> None:
    filesystem, folder = place
    assert list_folder(filesystem, folder) == []
    write(place, b"x")
    assert [info.base_name for info in list_folder(filesystem, folder)] == ["file"]
    assert file_info(filesystem, folder / "file").is_file
    delete(filesystem, folder / "file")
    assert not file_info(filesystem, folder / "file").is_file
    delete(filesystem, folder / "file")


def test_a_server_that_is_away_is_a_storage_error_whatever_is_asked(s3: S3) -> None:
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    endpoint = f"127.0.0.1:{closed.getsockname()[1]}"  # nobody listens there
    away = S3FileSystem(
        endpoint_override=endpoint, scheme="http", retry_strategy=AwsStandardS3RetryStrategy(1)
    )
    for ask in (read_bytes, list_folder, file_info, delete):
        with pytest.raises(StorageError, match=r"^cannot .* bucket/folder"):
            ask(away, Path("bucket/folder"))
    closed.close()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(StorageError, match="it is no plain file"):
        read_bytes(LocalFileSystem(), tmp_path / "file")
