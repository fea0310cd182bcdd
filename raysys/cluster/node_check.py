"""Whether every node of a cluster is as the driver's machine is: `raysys doctor --address`."""

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from pyarrow.fs import FileSystem
from ray import cloudpickle
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


def check_nodes(address: str, filesystem: FileSystem, folder: Path) -> list[NodeCheck]:
    """Ask every living node of the cluster at `address`. Raises UnreachableError.

    In `folder` of `filesystem` each node must find what this machine writes, and the other way round.
    """
    check_address(address)
    with ray_session(address, os.devnull):
        return _check_nodes(filesystem, folder)


def _check_nodes(filesystem: FileSystem, folder: Path) -> list[NodeCheck]:
    mark = str(folder / f".raysys-doctor-{uuid.uuid4().hex}")
    # As bytes: a node that cannot open it still tells all else.
    sent = cloudpickle.dumps(filesystem)  # type: ignore[no-untyped-call]
    here = _look_by_value()(sent, mark, mark)
    living = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    told: dict[str, Any] = {}
    for node in living:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        look = ray.remote(num_cpus=0, scheduling_strategy=there)(_look_by_value())  # type: ignore[call-overload]
        told[node["NodeID"]] = look.remote(sent, mark, f"{mark}-{node['NodeID']}")
    ray.wait(list(told.values()), num_returns=len(told), timeout=PATIENCE_S)
    seen = {node for node in told if _removed(filesystem, f"{mark}-{node}")}
    _removed(filesystem, mark)
    return [_compared(node, here, _answer(told[node["NodeID"]]), node["NodeID"] in seen) for node in living]


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
    node: dict[str, Any], here: dict[str, str], told: dict[str, str] | str, seen: bool
) -> NodeCheck:
    """`seen`: what the node wrote to the storage was found by this machine."""
    has = node["Resources"]
    what = f"{has.get('CPU', 0):g} CPU, {has.get('GPU', 0):g} GPU, {has.get('memory', 0) / 1e9:.1f} GB"
    name = f"node {node['NodeManagerAddress']} {node['NodeID'][:8]}"
    if isinstance(told, str):
        return NodeCheck(name, what, told)
    if told["storage"] == "ok" and not seen:
        told["storage"] = "another folder"
    wanted = {**here, "storage": "ok"}
    differs = [f"{key} {told[key]}, here {here[key]}" for key, value in wanted.items() if told[key] != value]
    versions = ", ".join(f"{key} {value}" for key, value in told.items())
    return NodeCheck(name, f"{what}; {versions}", "; ".join(differs))


def _removed(filesystem: FileSystem, path: str) -> bool:
    """Whether there was such a file."""
    with suppress(OSError):
        filesystem.delete_file(path)
        return True
    return False


def _look_by_value() -> Callable[[bytes, str, str], dict[str, str]]:
    """A function that needs nothing of raysys where it runs: it may not be there."""

    def look(storage: bytes, mark: str, own: str) -> dict[str, str]:
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
                filesystem = import_module("ray.cloudpickle").loads(storage)
                if own != mark:
                    with filesystem.open_input_stream(mark) as stream:
                        if stream.read() != mark.encode():
                            return "another folder"
                with filesystem.open_output_stream(own) as stream:
                    stream.write(own.encode())
            except Exception as error:
                return str(error).partition("\n")[0]
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
