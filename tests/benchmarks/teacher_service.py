"""How fast is the shared teacher, against calling the model directly? Prints tables; see README.md beside it.

    python tests/benchmarks/teacher_service.py [--seconds 6] [--networks lenet5,resnet18]

All figures are ratios inside one run, each beside its own baseline: the same network in one thread of one
process, forward after forward, at its best batch size.
"""

import argparse
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ray
import torch
from rich.console import Console
from rich.table import Table

from raysys.models.classifiers import build_classifier
from raysys.oracle import Images, Response
from raysys.records import Task
from raysys.space.schema import Recipe, TeacherSpec
from raysys.teacher.actor import ActorOracle, start_teacher
from raysys.teacher.backend import Meter
from raysys.teacher.journal import Journal
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.local import TorchTeacher
from raysys.teacher.log import LocalLog
from raysys.teacher.service import Request, TeacherService
from raysys.teacher.setup import TeacherSetup

TASKS = {"lenet5": Task("mnist", (1, 28, 28), 10, False), "resnet18": Task("cifar10", (3, 32, 32), 10, True)}
BATCHES = (16, 32, 64, 128, 256, 512, 1024)
FLAT_S = 0.005
"""What a forward of the teacher with a flat cost takes: a round trip, or the launches of a GPU."""

console = Console(width=110)


@dataclass(frozen=True)
class FlatTeacher:
    """A `Source` and its backend: a forward takes `FLAT_S`, however many images it has."""

    max_rows: int = 1024
    lanes: int = 1

    def backend(self, device: str) -> "FlatTeacher":
        return self

    def sha256(self) -> str:
        return "flat"

    def predict(self, images: Images, meter: Meter) -> Response:
        meter.sent(0, len(images))
        time.sleep(FLAT_S)
        return Response(np.zeros(len(images), np.int64))


@dataclass(frozen=True)
class Unbatched:
    """A `Source` whose backend gets every request alone."""

    inner: KeptTeacher | FlatTeacher

    def backend(self, device: str) -> "AloneBackend":
        return AloneBackend(self.inner.backend(device))

    def sha256(self) -> str:
        return self.inner.sha256()


class AloneBackend:
    """A backend for which nothing is worth joining."""

    lanes = 1
    max_rows = 1

    def __init__(self, inner: TorchTeacher | FlatTeacher) -> None:
        self.predict = inner.predict


def kept(name: str, folder: Path) -> KeptTeacher:
    teacher = KeptTeacher(str(folder), TeacherSpec(architecture=name, recipe=Recipe(epochs=1)), TASKS[name])
    teacher.keep(build_classifier(name, TASKS[name], seed=0))
    return teacher


def pictures(task: Task, n: int, seed: int) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (n, *task.image_shape)).astype(np.uint8)


def rate(step: Callable[[], int], seconds: float) -> float:
    """Rows a second of `step`, which returns its rows; one call warms up."""
    step()
    rows, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        rows += step()
    return rows / (time.perf_counter() - start)


def direct(teacher: KeptTeacher, seconds: float) -> tuple[int, float]:
    """(best batch, its rows/s) of one in-process loop over the bare module."""
    torch.set_num_threads(1)
    found: dict[int, float] = {}
    for batch in BATCHES:
        loop = TorchTeacher(teacher.open(), chunk=batch)
        images = pictures(teacher.task, batch, 0)
        found[batch] = rate(lambda: len(loop.answer(images).labels), seconds / len(BATCHES))  # noqa: B023
        if found[batch] < 0.9 * max(found.values()):
            break  # larger ones only take longer
    best = max(found, key=lambda batch: found[batch])
    return best, found[best]


@ray.remote(num_cpus=0)
class Callers:
    """`threads` callers in one process, each with one request under way, as trials have."""

    def __init__(self, handle: object, task: Task, threads: int, first: int, sizes: tuple[int, int]) -> None:
        torch.set_num_threads(1)
        self._oracles = [ActorOracle(handle, f"u{first + n:05d}", 10**9) for n in range(threads)]  # type: ignore[arg-type]
        self._sequences = [0] * threads
        self._task, self._first, self._sizes = task, first, sizes

    def run(self, seconds: float) -> tuple[int, float]:
        """(rows, requests a second) until `seconds` are over."""
        rows = [0] * len(self._oracles)
        until = time.perf_counter() + seconds
        threads = [threading.Thread(target=self._ask, args=(n, until, rows)) for n in range(len(rows))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(rows), sum(self._sequences)

    def _ask(self, caller: int, until: float, rows: list[int]) -> None:
        rng = np.random.default_rng(self._first + caller)
        low, high = self._sizes
        images = pictures(self._task, high, self._first + caller)
        while time.perf_counter() < until:
            n = int(rng.integers(low, high + 1))
            reply = self._oracles[caller].ask(images[:n], self._sequences[caller])
            assert isinstance(reply, Response), reply
            self._sequences[caller] += 1
            rows[caller] += n


@contextmanager
def served(source: object, task: Task) -> Iterator[object]:
    with tempfile.TemporaryDirectory() as folder:
        handle = start_teacher(TeacherSetup(source, task, "hard", Path(folder)))  # type: ignore[arg-type]
        yield handle
        ray.kill(handle)


def asked(
    source: object, task: Task, processes: int, threads: int, sizes: tuple[int, int], s: float
) -> float:
    """Rows a second of processes x threads callers at the shared actor."""
    with served(source, task) as handle:
        callers = [Callers.remote(handle, task, threads, n * threads, sizes) for n in range(processes)]  # type: ignore[attr-defined]
        ray.get([caller.run.remote(s / 3) for caller in callers])
        start = time.perf_counter()
        rows = sum(done for done, _ in ray.get([caller.run.remote(s) for caller in callers]))
        return rows / (time.perf_counter() - start)


class TimedLog(LocalLog):
    """A log that tells how long its writes took."""

    seconds = 0.0

    def append(self, line: bytes, sync: bool) -> None:
        start = time.perf_counter()
        super().append(line, sync)
        self.seconds += time.perf_counter() - start


class TimedTeacher(TorchTeacher):
    """A teacher that tells how long its forwards took."""

    seconds = 0.0

    def answer(self, images: Images) -> Response:
        start = time.perf_counter()
        response = super().answer(images)
        self.seconds += time.perf_counter() - start
        return response


def profile(teacher: KeptTeacher, seconds: float) -> dict[str, float]:
    """Where the time of the service goes, without Ray: groups of 4 requests of 250 images. Shares of 1."""
    with tempfile.TemporaryDirectory() as folder:
        log, network = TimedLog(Path(folder)), TimedTeacher(teacher.open())
        service = TeacherService(network, teacher.task, "hard", Journal(log))
        images = [pictures(teacher.task, 250, n) for n in range(4)]
        for n in range(4):
            service.open(f"u{n}", 10**9)
        numbers = iter(range(10**9))

        def step() -> int:
            number = next(numbers)
            service.serve([Request(f"u{n}", 0, number, images[n]) for n in range(4)])
            return 1000

        step()
        log.seconds = network.seconds = 0.0
        start = time.perf_counter()
        rows = rate(step, seconds)
        whole = time.perf_counter() - start
        return {"rows/s": rows, "forward": network.seconds / whole, "durable writes": log.seconds / whole}


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    printed = Table(title=title, title_justify="left")
    for column in columns:
        printed.add_column(column, justify="right")
    for row in rows:
        printed.add_row(*row)
    console.print(printed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--networks", default="lenet5,resnet18")
    options = parser.parse_args()
    console.print(
        f"{platform.platform()}, Python {platform.python_version()},"
        f" torch {torch.__version__}, ray {ray.__version__}"
    )
    large, small, shares = [], [], []
    networks, seconds = options.networks.split(","), options.seconds
    with tempfile.TemporaryDirectory() as folder:
        teachers = {name: kept(name, Path(folder) / name) for name in networks}
        for name, teacher in teachers.items():  # before Ray's processes are there
            _, floor = direct(teacher, seconds)
            found = profile(teacher, seconds)
            rest = 1 - found["forward"] - found["durable writes"]
            row = [f"{found['forward']:.1%}", f"{found['durable writes']:.1%}", f"{rest:.1%}"]
            shares.append([name, f"{found['rows/s'] / floor:.2f}", *row])
        # Ray's default of 15 would measure what else runs here.
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
        for name, teacher in teachers.items():
            before = direct(teacher, seconds)
            rows = asked(teacher, teacher.task, 8, 1, (250, 250), seconds)
            batch, floor = max(before, direct(teacher, seconds), key=lambda found: found[1])
            large.append([name, str(batch), f"{floor:,.0f}", f"{rows:,.0f}", f"{rows / floor:.2f}"])
            joined, alone = (
                asked(one, teacher.task, 4, 8, (1, 8), seconds) for one in (teacher, Unbatched(teacher))
            )
            ratios = [f"{joined / alone:.1f}", f"{joined / floor:.2f}"]
            small.append([name, f"{alone:,.0f}", f"{joined:,.0f}", *ratios])
    task = TASKS["lenet5"]
    joined, alone = (
        asked(one, task, 4, 8, (1, 8), options.seconds) for one in (FlatTeacher(), Unbatched(FlatTeacher()))
    )
    small.append(["5 ms flat", f"{alone:,.0f}", f"{joined:,.0f}", f"{joined / alone:.1f}", ""])
    table(
        "8 callers x 250 images (rows/s)",
        ["network", "best batch", "direct", "shared", "ratio (target 0.9)"],
        large,
    )
    table(
        "32 callers x 1-8 images (rows/s)",
        ["network", "unbatched", "batched", "ratio (target 10)", "of direct"],
        small,
    )
    table(
        "the service without Ray: 4 x 250 images a group",
        ["network", "of direct", "forward", "durable writes (target 5%)", "rest"],
        shares,
    )


if __name__ == "__main__":
    main()
