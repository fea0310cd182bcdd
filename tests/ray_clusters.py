"""A Ray cluster of several nodes on this machine, in processes of its own, whose nodes can be killed -9.

As a program (`python ray_clusters.py FOLDER`) it is the cluster: it does what it is told on stdin, line by
line, and answers with a line each.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 4,
}
"""A dead node is noticed within seconds."""
STORE = 80 * 2**20
"""Bytes of a node's object store."""


class RayCluster:
    """A head without a CPU, where the driver works, and `nodes` of one CPU. `environment` of all of them."""

    def __init__(self, nodes: int, environment: dict[str, str] | None = None) -> None:
        self.environment = {"RAY_AUTH_MODE": "disabled", **(environment or {})}
        self._folder = Path(tempfile.mkdtemp(prefix="rc", dir="/tmp"))  # a socket's path must be short
        self._log = (self._folder / "cluster.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._folder / "r")],
            env={**os.environ, **self.environment, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self.address = self._tell("head")
        for _ in range(nodes):
            self.add()

    def add(self) -> None:
        """Another node of one CPU joins."""
        assert self._tell("add") == "added"

    def kill(self) -> None:
        """The newest node and all its processes are gone at once, as a machine that is taken away."""
        pid = int(self._tell("pid"))
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The whole cluster is gone at once."""
        processes = [*psutil.Process(self._process.pid).children(recursive=True)]
        for process in [psutil.Process(self._process.pid), *processes]:
            process.kill()
        psutil.wait_procs(processes, timeout=20)
        self._process.communicate()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tell(self, order: str) -> str:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer, (self._folder / "cluster.log").read_text()
        return answer


def serve(folder: str) -> None:
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster()
    nodes: list[Any] = []
    for order in sys.stdin:
        match order.strip():
            case "head":
                cluster.add_node(
                    num_cpus=0,
                    object_store_memory=STORE,
                    include_dashboard=False,
                    _system_config=QUICK,
                    temp_dir=folder,
                )
                answer = cluster.address
            case "add":
                nodes.append(cluster.add_node(num_cpus=1, object_store_memory=STORE))
                answer = "added"
            case _:
                answer = nodes.pop().all_processes["raylet"][0].process.pid
        print(answer, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
