"""Whether every node of a cluster is as the driver's machine is: `raysys doctor --address`."""

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from pyarrow.fs import FileSystem, FileType
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysys.cluster.machine import check_address
from raysys.cluster.ray_cluster import ray_session

PATIENCE_S = 120.0
"""How long the nodes may take to answer; each has to start Python."""


@dataclass(frozen=True)
class NodeCheck:
    """One node: `detail` tells what it has; `differs` what is not as on this machine, "" if nothing."""

    name: str
    detail: str
    differs: str


def check_nodes(address: str, storage: str) -> list[NodeCheck]:
    """Ask every living node of the cluster at `address`. Raises UnreachableError.

    `storage` is the absolute path or URI of an existing folder: each node must find there what this machine
    writes, and the other way round.
    """
    check_address(address)
    with ray_session(address, os.devnull):
        return _check_nodes(storage)


def _check_nodes(storage: str) -> list[NodeCheck]:
    mark = f".raysys-doctor-{uuid.uuid4().hex}"
    here = _look_by_value()(storage, mark, mark)
    living = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    told: dict[str, Any] = {}
    for node in living:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        look = ray.remote(num_cpus=0, scheduling_strategy=there)(_look_by_value())  # type: ignore[call-overload]
        told[node["NodeID"]] = look.remote(storage, mark, f"{mark}-{node['NodeID']}")
    ray.wait(list(told.values()), num_returns=len(told), timeout=PATIENCE_S)
    checks = [_compared(node, here, _answer(told[node["NodeID"]]), storage, mark) for node in living]
    _remove(storage, [mark, *(f"{mark}-{node}" for node in told)])
    return checks


def _answer(reference: Any) -> dict[str, str] | str:
    """What the node told, or why it did not."""
    try:
        found: dict[str, str] = ray.get(reference, timeout=0)
        return found
    except ray.exceptions.GetTimeoutError:
        return f"no answer within {PATIENCE_S:g} s"
    except ray.exceptions.RayError as error:
        return str(error).strip().rpartition("\n")[2]


def _compared(
    node: dict[str, Any], here: dict[str, str], told: dict[str, str] | str, storage: str, mark: str
) -> NodeCheck:
    has = node["Resources"]
    what = f"{has.get('CPU', 0):g} CPU, {has.get('GPU', 0):g} GPU, {has.get('memory', 0) / 1e9:.1f} GB"
    name = f"node {node['NodeManagerAddress']} {node['NodeID'][:8]}"
    if isinstance(told, str):
        return NodeCheck(name, what, told)
    differs = [f"{key} {told[key]}, here {value}" for key, value in here.items() if told[key] != value]
    if told["storage"] == "ok" and not _is_there(storage, f"{mark}-{node['NodeID']}"):
        differs.append(f"storage: {storage} is another folder there")
    versions = ", ".join(f"{key} {value}" for key, value in told.items())
    return NodeCheck(name, f"{what}; {versions}", "; ".join(differs))


def _is_there(storage: str, name: str) -> bool:
    filesystem, path = FileSystem.from_uri(storage)
    return bool(filesystem.get_file_info(f"{path}/{name}").type == FileType.File)


def _remove(storage: str, names: list[str]) -> None:
    filesystem, path = FileSystem.from_uri(storage)
    for name in names:
        if _is_there(storage, name):
            filesystem.delete_file(f"{path}/{name}")


def _look_by_value() -> Callable[[str, str, str], dict[str, str]]:
    """A function that needs nothing of raysys where it runs: it may not be there."""

    def look(storage: str, mark: str, own: str) -> dict[str, str]:
        import platform
        from importlib import import_module, metadata

        def version(package: str) -> str:
            try:
                return metadata.version(package)
            except metadata.PackageNotFoundError:
                return "not installed"

        def code() -> str:
            try:
                return str(import_module("raysys.source").code_id())
            except Exception as error:
                return f"cannot be imported: {error}"

        def folder() -> str:
            try:
                fs = import_module("pyarrow.fs")
                filesystem, path = fs.FileSystem.from_uri(storage)
                if own != mark:
                    with filesystem.open_input_stream(f"{path}/{mark}") as stream:
                        if stream.read() != mark.encode():
                            return "another folder"
                with filesystem.open_output_stream(f"{path}/{own}") as stream:
                    stream.write(own.encode())
            except Exception as error:
                return str(error)
            return "ok"

        return {
            "python": platform.python_version(),
            **{name: version(name) for name in ("ray", "torch", "pyarrow")},
            "raysys": code(),
            "methods": ", ".join(sorted(p.name for p in metadata.entry_points(group="raysys.methods")))
            or "none of other packages",
            "storage": folder(),
        }

    return look
