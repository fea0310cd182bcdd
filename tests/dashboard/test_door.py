"""The filesystem through which the pages read."""

import os
from pathlib import Path

import pytest
from edge_runs import book, build
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, SubTreeFileSystem

from dashboard import door
from dashboard.snapshot import runs
from raysys.errors import StorageError
from raysys.store.reader import read_run
from raysys.store.writer import RunWriter
from raysys.teacher.journal import read_accounts


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage with a run `three`, beside a file that nobody may see."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "note").write_text("secret")
    build(tmp_path / "storage", "three")
    return tmp_path / "storage"


@pytest.fixture
def filesystem(storage: Path) -> FileSystem:
    return door.door(LocalFileSystem(), storage)


def test_runs_and_their_ledgers_are_read_through_it(storage):
    book(build(storage, "many"))
    layouts = runs(str(storage))
    assert set(layouts) == {"three", "many"}
    many = layouts["many"]
    assert many.filesystem == layouts["three"].filesystem != LocalFileSystem()
    assert many.location == str(storage / "many")
    assert read_run(many).trials == read_run(storage / "many").trials
    accounts = read_accounts(many.ledger, many.filesystem)
    assert accounts == read_accounts(storage / "many" / "ledger")
    assert len(accounts) == 61


@pytest.mark.parametrize(
    "path", ["three/link", "three/folder/note", "three/../../secret/note", "/etc/hostname"]
)
def test_nothing_outside_is_opened(path, storage, filesystem):
    (storage / "three" / "link").symlink_to(storage.parent / "secret" / "note")
    (storage / "three" / "folder").symlink_to(storage.parent / "secret")
    for opened in (filesystem.open_input_file, filesystem.open_input_stream):
        with pytest.raises(PermissionError, match=r"is not opened: it leads out of .*storage"):
            opened(str(storage / path))
    assert filesystem.get_file_info(str(storage / path)).type is FileType.Unknown


def test_a_folder_outside_is_not_listed(storage, filesystem):
    (storage / "folder").symlink_to(storage.parent / "secret")
    with pytest.raises(PermissionError, match="leads out"):
        filesystem.get_file_info(FileSelector(str(storage / "folder")))
    everything = filesystem.get_file_info(FileSelector(str(storage), recursive=True))
    assert not any(info.path.endswith("note") for info in everything)
    types = {info.base_name: info.type for info in everything}
    assert types["folder"] is FileType.Unknown
    assert types["run.json"] is FileType.File


def test_links_inside_work_and_loops_end(storage, filesystem):
    (storage / "again").symlink_to("three")
    (storage / "three" / "up").symlink_to("..")
    (storage / "loop").symlink_to("loop")
    assert set(runs(str(storage))) == {"three", "again"}
    assert read_run(runs(str(storage))["again"]).trials.num_rows == 3
    listed = filesystem.get_file_info(FileSelector(str(storage), recursive=True))
    assert sum(info.base_name == "run.json" for info in listed) == 1
    with pytest.raises(OSError, match="symbolic links"):
        filesystem.open_input_file(str(storage / "loop"))


def test_a_storage_that_is_a_link_works(storage):
    (storage.parent / "link").symlink_to("storage")
    layout = runs(str(storage.parent / "link"))["three"]
    assert layout.location == str(storage.parent / "link" / "three")
    assert read_run(layout).trials.num_rows == 3


def test_a_pipe_and_a_huge_file_are_not_opened(storage, filesystem, monkeypatch):
    os.mkfifo(storage / "pipe")
    with pytest.raises(PermissionError, match="no plain file"):
        filesystem.open_input_file(str(storage / "pipe"))
    with (storage / "huge").open("wb") as file:
        file.truncate(door.MOST_BYTES + 1)
    with pytest.raises(PermissionError, match="1,073,741,825 bytes are more"):
        filesystem.open_input_file(str(storage / "huge"))


def test_missing_files_are_missing(storage, filesystem):
    assert filesystem.get_file_info(str(storage / "none")).type is FileType.NotFound
    assert filesystem.get_file_info(FileSelector(str(storage / "none"), allow_not_found=True)) == []
    with pytest.raises(FileNotFoundError):
        filesystem.open_input_file(str(storage / "none"))


def test_nothing_is_written(storage, filesystem):
    path = str(storage / "three" / "run.json")
    before = sorted(storage.rglob("*"))
    for write in (
        filesystem.open_output_stream,
        filesystem.open_append_stream,
        filesystem.create_dir,
        filesystem.delete_file,
        filesystem.delete_dir,
        filesystem.delete_dir_contents,
    ):
        with pytest.raises(PermissionError, match="the dashboard only reads"):
            write(path)
    for write in (filesystem.move, filesystem.copy_file):
        with pytest.raises(PermissionError, match="the dashboard only reads"):
            write(path, path + ".bak")
    with pytest.raises(StorageError, match="cannot write"), RunWriter(runs(str(storage))["three"]) as writer:
        writer.trial(read_run(storage / "three").records()[0])
    assert sorted(storage.rglob("*")) == before


def test_what_has_no_links_is_rooted_by_its_paths(storage):
    objects = SubTreeFileSystem(str(storage), LocalFileSystem())
    filesystem = door.door(objects, Path("three"))
    with filesystem.open_input_file("three/run.json") as stream:
        assert stream.read(1) == b"{"
    assert filesystem.get_file_info(FileSelector("three/trials"))[0].is_file
    for path in ("three/../other", "other", "threes/run.json"):
        with pytest.raises(PermissionError, match="leads out of three"):
            filesystem.open_input_file(path)
