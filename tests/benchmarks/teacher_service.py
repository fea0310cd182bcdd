"""How fast is the shared teacher, against calling the model directly? Prints tables; see README.md beside it.

    python tests/benchmarks/teacher_service.py [--seconds 4] [--networks lenet5,resnet18]

All figures are of one run, each beside its own baseline: the same network in one thread of one process,
forward after forward, at its best batch size, in float32. Where other work shares the cores, ratios of the
clock say little; those of CPU time (the loop's, against the teacher's process and its callers') still hold.
"""

import argparse
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from rich.console import Console
from rich.table import Table

from raysys.models.classifiers import build_classifier
from raysys.oracle import Images, Response
from raysys.records import Task
from raysys.space.schema import Recipe, TeacherSpec
from raysys.teacher.actor import ActorOracle, in_parts, start_teacher
from raysys.teacher.backend import Backend, Meter
from raysys.teacher.hard import HardTeacher
from raysys.teacher.journal import Journal
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.local import TorchTeacher
from raysys.teacher.local_link import LinkServer, LocalLink
from raysys.teacher.log import LocalLog
from raysys.teacher.service import Request, TeacherService
from raysys.teacher.setup import TeacherSetup
from raysys.teacher.tuning import HardSource

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

    inner: HardSource | FlatTeacher

    def backend(self, device: str) -> "AloneBackend":
        return AloneBackend(self.inner.backend(device))

    def sha256(self) -> str:
        return self.inner.sha256()


class AloneBackend:
    """A backend for which nothing is worth joining."""

    lanes = 1
    max_rows = 1

    def __init__(self, inner: Backend | FlatTeacher) -> None:
        self.predict = inner.predict


def kept(name: str, folder: Path) -> KeptTeacher:
    teacher = KeptTeacher(str(folder), TeacherSpec(architecture=name, recipe=Recipe(epochs=1)), TASKS[name])
    teacher.keep(build_classifier(name, TASKS[name], seed=0))
    return teacher


def tuned_source(teacher: KeptTeacher) -> HardSource:
    """As a run has it."""
    return HardSource(teacher, partial(pictures, teacher.task, 192, 9))


def pictures(task: Task, n: int, seed: int) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (n, *task.image_shape)).astype(np.uint8)


@dataclass(frozen=True)
class Speed:
    """Images a second by the clock, and CPU seconds of an image."""

    rate: float
    cpu: float


def speed(step: Callable[[], int], seconds: float) -> Speed:
    """That of `step`, which returns its rows; one call warms up."""
    step()
    rows, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        rows += step()
    return Speed(rows / (time.perf_counter() - start), (time.process_time() - cpu) / rows)


def direct(teacher: KeptTeacher, seconds: float) -> tuple[int, Speed]:
    """The best batch, and its speed in an in-process loop over the bare module."""
    torch.set_num_threads(1)
    found: dict[int, Speed] = {}
    for batch in BATCHES:
        loop = TorchTeacher(teacher.open(), chunk=batch)
        images = pictures(teacher.task, batch, 0)
        found[batch] = speed(lambda: len(loop.answer(images).labels), seconds / len(BATCHES))  # noqa: B023
        if found[batch].cpu > 1.1 * min(one.cpu for one in found.values()):
            break  # larger ones only take longer
    best = min(found, key=lambda batch: found[batch].cpu)
    return best, found[best]


@ray.remote(num_cpus=0)
class Callers:
    """Callers in one process, each with one request under way, as trials have."""

    def run(
        self, handle: Any, task: Task, threads: int, first: int, sizes: tuple[int, int], seconds: float
    ) -> tuple[int, int, float]:
        """(rows, requests, CPU seconds) of callers `first`, `first` + 1, ... until `seconds` are over."""
        torch.set_num_threads(1)
        cpu = time.process_time()
        until = time.perf_counter() + seconds
        with ThreadPoolExecutor(threads) as pool:
            asked = list(
                pool.map(
                    lambda n: _ask(handle, task, f"u{n:05d}", sizes, until), range(first, first + threads)
                )
            )
        rows, requests = map(sum, zip(*asked, strict=True))
        return rows, requests, time.process_time() - cpu


def _ask(handle: Any, task: Task, uid: str, sizes: tuple[int, int], until: float) -> tuple[int, int]:
    oracle, rng = ActorOracle(handle, uid, 10**9), np.random.default_rng(int(uid[1:]))
    images = pictures(task, sizes[1], int(uid[1:]))
    rows = requests = 0
    while time.perf_counter() < until:
        n = int(rng.integers(sizes[0], sizes[1] + 1))
        reply = oracle.ask(images[:n], 10**6 * oracle.epoch + requests)
        assert isinstance(reply, Response), reply
        requests += 1
        rows += n
    return rows, requests


@ray.remote(num_cpus=0)
class Empty:
    """Answers nothing at once: what is left is the way there."""

    def __init__(self) -> None:
        self._link = LinkServer(self._put)

    def _put(self, request: Request) -> "Future[Any]":
        reply: Future[Any] = Future()
        reply.set_result(None)
        return reply

    async def ask(self, uid: str, epoch: int, sequence: int, *parts: Images) -> None:
        pass

    async def address(self) -> str:
        return self._link.address

    async def cpu(self) -> float:
        return time.process_time()

    async def end(self) -> None:
        self._link.close()


def ways(images: Images, seconds: float) -> list[list[str]]:
    """(way, calls a second, ms of a core at both ends) of one caller of 250 images, for each way."""
    empty = Empty.remote()  # type: ignore[attr-defined]
    link = LocalLink(ray.get(empty.address.remote()))
    calls = {
        "Ray, as one argument": lambda: ray.get(empty.ask.remote("u", 0, 0, images)),
        "Ray, in parts below 100 kB": lambda: ray.get(empty.ask.remote("u", 0, 0, *in_parts(images))),
        "the socket": lambda: link.ask("u", 0, 0, images),
    }
    rows = []
    for name, call in calls.items():
        before = ray.get(empty.cpu.remote())
        found = speed(lambda: len([call()]), seconds)  # noqa: B023
        theirs = (ray.get(empty.cpu.remote()) - before) / (found.rate * seconds)
        rows.append([name, f"{found.rate:,.0f}", f"{1000 * (found.cpu + theirs):.2f}"])
    ray.get(empty.end.remote())
    ray.kill(empty)
    return rows


@contextmanager
def served(source: Any, task: Task) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        handle = start_teacher(TeacherSetup(source, task, "hard", Path(folder)))
        yield handle
        ray.get(handle.end.remote())
        ray.kill(handle)


def asked(
    source: Any, task: Task, callers: list[Any], threads: int, sizes: tuple[int, int], s: float
) -> Speed:
    """Of `threads` callers in each process of `callers` at the shared actor."""

    def run(seconds: float) -> tuple[int, float]:
        calls = [
            one.run.remote(handle, task, threads, n * threads, sizes, seconds)
            for n, one in enumerate(callers)
        ]
        rows, _, cpu = map(sum, zip(*ray.get(calls), strict=True))
        return rows, cpu

    def used() -> float:
        return float(ray.get(handle.__ray_call__.remote(lambda actor: time.process_time())))

    with served(source, task) as handle:
        run(s / 3)
        start, before = time.perf_counter(), used()
        rows, cpu = run(s)
        return Speed(rows / (time.perf_counter() - start), (cpu + used() - before) / rows)


class TimedLog(LocalLog):
    """A log that tells how long its writes took."""

    seconds = 0.0

    def append(self, line: bytes, sync: bool) -> None:
        start = time.perf_counter()
        super().append(line, sync)
        self.seconds += time.perf_counter() - start


class TimedTeacher:
    """A teacher that tells how long its forwards took."""

    seconds = 0.0

    def __init__(self, inner: HardTeacher) -> None:
        self._inner = inner
        self.lanes, self.max_rows, self.close = inner.lanes, inner.max_rows, inner.close

    def predict(self, images: Images, meter: Meter) -> Response:
        start = time.perf_counter()
        response = self._inner.predict(images, meter)
        self.seconds += time.perf_counter() - start
        return response


def profile(teacher: KeptTeacher, seconds: float) -> dict[str, float]:
    """Where the time of the service goes, without Ray: groups of 4 requests of 250 images. Shares of 1."""
    with tempfile.TemporaryDirectory() as folder:
        log, network = TimedLog(Path(folder)), TimedTeacher(tuned_source(teacher).backend("cpu"))
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
        cpu = speed(step, seconds).cpu
        whole = time.perf_counter() - start
        return {"cpu": cpu, "forward": network.seconds / whole, "durable writes": log.seconds / whole}


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    printed = Table(title=title, title_justify="left")
    for column in columns:
        printed.add_column(column, justify="right")
    for row in rows:
        printed.add_row(*row)
    console.print(printed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--networks", default="lenet5,resnet18")
    options = parser.parse_args()
    console.print(
        f"{platform.platform()}, Python {platform.python_version()},"
        f" torch {torch.__version__}, ray {ray.__version__}, load {os.getloadavg()[0]:.1f}"
    )
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("raysys").setLevel(logging.INFO)  # what the teachers chose
    large, small, shares = [], [], []
    networks, seconds = options.networks.split(","), options.seconds
    with tempfile.TemporaryDirectory() as folder:
        teachers = {name: kept(name, Path(folder) / name) for name in networks}
        for name, teacher in teachers.items():  # before Ray's processes are there
            _, floor = direct(teacher, seconds)
            found = profile(teacher, seconds)
            rest = 1 - found["forward"] - found["durable writes"]
            row = [f"{found['forward']:.1%}", f"{found['durable writes']:.1%}", f"{rest:.1%}"]
            shares.append([name, f"{floor.cpu / found['cpu']:.2f}", *row])
        # Ray's default of 15 would measure what else runs here.
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
        calls = ways(pictures(TASKS["lenet5"], 250, 0), seconds / 2)
        callers = [Callers.remote() for _ in range(8)]  # type: ignore[attr-defined]
        for name, teacher in teachers.items():
            source = tuned_source(teacher)
            before = direct(teacher, seconds)
            shared = asked(source, teacher.task, callers, 1, (250, 250), seconds)
            batch, floor = min(before, direct(teacher, seconds), key=lambda found: found[1].cpu)
            large.append(
                [
                    name,
                    str(batch),
                    f"{floor.rate:,.0f}",
                    f"{shared.rate:,.0f}",
                    f"{shared.rate / floor.rate:.2f}",
                    f"{floor.cpu / shared.cpu:.2f}",
                ]
            )
            pair = [source, Unbatched(source)]
            small.append(together(name, *(small_calls(one, teacher.task, callers, seconds) for one in pair)))
        flat = [FlatTeacher(), Unbatched(FlatTeacher())]
        task = TASKS["lenet5"]
        small.append(together("5 ms flat", *(small_calls(one, task, callers, seconds) for one in flat)))
    table(
        "8 callers x 250 images (rows/s)",
        ["network", "best batch", "direct", "shared", "ratio (target 0.9)", "ratio of CPU time"],
        large,
    )
    table(
        "32 callers x 1-8 images (rows/s)",
        ["network", "unbatched", "batched", "ratio (target 10)"],
        small,
    )
    table("the way there: one caller x 250 images of 28x28", ["way", "calls/s", "ms of a core a call"], calls)
    table(
        "the service without Ray: 4 x 250 images a group",
        ["network", "of direct (CPU time)", "forward", "durable writes (target 5%)", "rest"],
        shares,
    )


def small_calls(source: Any, task: Task, callers: list[Any], seconds: float) -> Speed:
    return asked(source, task, callers[:4], 8, (1, 8), seconds)


def together(name: str, joined: Speed, alone: Speed) -> list[str]:
    return [name, f"{alone.rate:,.0f}", f"{joined.rate:,.0f}", f"{joined.rate / alone.rate:.1f}"]


if __name__ == "__main__":
    main()
