"""What the doctor finds of a node's storage; nodes themselves are asked in test_nodes."""

from pathlib import Path

from pyarrow.fs import FileSystem, LocalFileSystem
from ray import cloudpickle
from s3_server import S3

from raysys.cluster.node_check import _look_by_value, _removed


def seen(filesystem: FileSystem, there: FileSystem, folder: Path) -> tuple[str, bool]:
    """What a node says of its storage `there`, and whether this machine finds what the node wrote."""
    mark, sent = str(folder / "mark"), cloudpickle.dumps(filesystem)
    assert _look_by_value()(sent, mark, mark)["storage"] == "ok"
    told = _look_by_value()(cloudpickle.dumps(there), mark, f"{mark}-node")["storage"]
    return told, _removed(filesystem, f"{mark}-node")


def test_a_node_finds_a_storage_that_only_the_drivers_environment_names(s3: S3) -> None:
    filesystem, folder = s3.fresh()
    assert seen(filesystem, filesystem, folder) == ("ok", True)


def test_a_folder_that_is_another_one_on_the_node_is_told(s3: S3, tmp_path: Path) -> None:
    told, found = seen(LocalFileSystem(), s3.fresh()[0], tmp_path)
    assert told != "ok" and "\n" not in told
    assert not found
