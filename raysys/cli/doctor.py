"""`raysys doctor`: is this machine ready?"""

import os
import shutil
import sys
import uuid
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raysys.cli import output
from raysys.cli.common import DataRoot, Storage, data_root_or_default
from raysys.errors import CheckError, RaysysError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

PACKAGES = ("raysys", "torch", "torchvision", "ray", "optuna", "pyarrow", "streamlit", "plotly", "pydantic")
MIN_FREE_GB = 5.0


@dataclass(frozen=True)
class Check:
    """One line of the report. `status`: ok, missing (something optional is not there) or failed."""

    name: str
    status: str
    detail: str


def doctor(
    storage: Storage = "runs",
    data_root: DataRoot = None,
    address: Annotated[
        str | None, typer.Option(help="auto or HOST:PORT of a Ray cluster whose nodes are checked as well")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Check the machine: versions, processors, Ray, folders, data sets, browser. Exit 3 if one fails.

    With --address also every node of that Ray cluster: whether it has the same versions, code and methods,
    and the same storage. Exit 6 if the cluster cannot be reached.
    """
    from raysys.teacher.training import default_cache_dir

    checks = [
        Check("python", "ok", sys.version.partition(" ")[0]),
        *map(_package, PACKAGES),
        _processors(),
        _ray(),
        _folder("storage", storage),
        _folder("cache", default_cache_dir()),
        _data_sets(data_root_or_default(data_root)),
        _chromium(),
        *(_nodes(address, storage) if address else ()),
    ]
    failed = [check.name for check in checks if check.status == "failed"]
    if json:
        output.print_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        output.table(("check", "status", "detail"), [tuple(asdict(check).values()) for check in checks])
    if failed:
        raise CheckError(f"{len(failed)} checks failed: {', '.join(failed)}")


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "failed", f"not installed: pip install {name}")


def _processors() -> Check:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check("processors", "ok", f"{os.cpu_count()} CPU cores, GPU: {', '.join(gpus) or 'none'}")


def _ray() -> Check:
    try:
        from ray import tune
    except ImportError as error:
        return Check("ray tune", "failed", str(error))
    return Check("ray tune", "ok", f"{tune.__name__} can be imported")


def _nodes(address: str, storage: str) -> list[Check]:
    from raysys.cluster.node_check import check_nodes

    mode = os.environ.get("RAY_AUTH_MODE", "not set: Ray looks for a token of its own")
    checks = [Check("token", "ok", f"RAY_AUTH_MODE is {mode}")]
    try:
        place = _existing(storage)
    except (RaysysError, OSError):
        return [*checks, Check("nodes", "failed", "not asked: the storage cannot be opened from here")]
    for node in check_nodes(address, *place):
        checks.append(Check(node.name, "failed" if node.differs else "ok", node.differs or node.detail))
    return checks


def _folder(name: str, location: str | Path) -> Check:
    """Whether a file can be made in a folder or URI, or in what there is of its parents; the free space."""
    try:
        filesystem, existing = _existing(location)
        mark = str(existing / f".raysys-doctor-{uuid.uuid4().hex}")
        with filesystem.open_output_stream(mark) as stream:
            stream.write(b"\n")
        filesystem.delete_file(mark)
    except RaysysError as error:
        return Check(name, "failed", str(error).replace("\n  ", "; "))
    except OSError as error:
        why = str(error).partition("\n")[0]
        return Check(name, "failed", f"{location} cannot be written: {why}")
    if filesystem.type_name != "local":
        return Check(name, "ok", f"{location} can be written")
    free = shutil.disk_usage(existing).free / 1e9
    if free < MIN_FREE_GB:
        return Check(name, "failed", f"{location}: {free:.1f} GB free, at least {MIN_FREE_GB:g} are needed")
    return Check(name, "ok", f"{location}, {free:.1f} GB free")


def _existing(location: str | Path) -> tuple["FileSystem", Path]:
    """Where files of that folder or URI can be tried: a folder of this machine need not be there yet."""
    from raysys.store.layout import open_storage

    filesystem, root = open_storage(location)
    if filesystem.type_name == "local":
        root = next(path for path in (root, *root.parents) if path.exists())
    return filesystem, root


def _data_sets(root: Path) -> Check:
    from raysys.data.datasets import DATASETS, is_present

    found = [name for name in DATASETS if is_present(name, root)]
    if len(found) == 1:
        return Check("data sets", "missing", f"none but the bundled {found[0]} (in {root})")
    return Check("data sets", "ok", f"{', '.join(found)} (in {root})")


def _chromium() -> Check:
    from raysys.figures.picture import find_chromium

    path = find_chromium()
    if path is None:
        return Check("chromium", "missing", "only the browser tests need it")
    return Check("chromium", "ok", path)
