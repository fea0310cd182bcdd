"""`raysys doctor`: is this machine ready?"""

import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from raysys.cli import output
from raysys.cli.common import DataRoot, Storage, data_root_or_default
from raysys.errors import CheckError

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
        _folder("storage", Path(storage)),
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

    if "://" not in storage:
        folder = Path(storage).expanduser().absolute()
        storage = str(next(path for path in (folder, *folder.parents) if path.is_dir()))
    mode = os.environ.get("RAY_AUTH_MODE", "not set: Ray looks for a token of its own")
    checks = [Check("token", "ok", f"RAY_AUTH_MODE is {mode}")]
    for node in check_nodes(address, storage):
        checks.append(Check(node.name, "failed" if node.differs else "ok", node.differs or node.detail))
    return checks


def _folder(name: str, folder: Path) -> Check:
    """Whether files can be made in `folder`, or in what there is of its parents, and the free space."""
    folder = folder.expanduser().absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free / 1e9
    except OSError as error:
        return Check(name, "failed", f"{folder} cannot be written: {error.strerror}")
    if free < MIN_FREE_GB:
        return Check(name, "failed", f"{folder}: {free:.1f} GB free, at least {MIN_FREE_GB:g} are needed")
    return Check(name, "ok", f"{folder}, {free:.1f} GB free")


def _data_sets(root: Path) -> Check:
    from raysys.data.datasets import DATASETS, is_present

    found = [name for name in DATASETS if is_present(name, root)]
    status = "ok" if len(found) > 1 else "missing"
    return Check("data sets", status, f"{', '.join(found)} (in {root})")


def _chromium() -> Check:
    from raysys.figures.picture import find_chromium

    path = find_chromium()
    if path is None:
        return Check("chromium", "missing", "only the browser tests need it")
    return Check("chromium", "ok", path)
