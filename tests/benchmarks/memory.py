"""What a trial keeps in memory, against what it must hold; and what eight trials at a time take in all.

    python tests/benchmarks/memory.py [--images 2000,20000,50000] [--concurrent 8]

A worker's memory is bounded by its pool, its networks, what a batch leaves for the backward pass, and a
constant: `fixed` is what the imports take, and `besides` what is left of the peak: gradients of activations,
a block of drawn noise, one checkpoint on its way to the disk, the heap's slack. What must be held is counted.
MB are 2^20 bytes; a worker's are those that no file holds as well, pss shares what processes share.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where pytest finds the builders

from crash_runs import TITLES, family

MB = 2**20
MOST_TRIAL = 300
"""The most MB besides what is counted: the stated constant."""
MOST_RUN = 4096
"""The most MB of all processes of a run of eight digits trials at a time."""
PACKS = (1, 4)
LOOK_S = 0.5
BATCH = 250

_OUT = Console(width=110)


def held() -> tuple[float, float]:
    """MB of this process that no file holds as well, and all that is resident."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    sizes = {words[0]: int(words[1]) * 1024 / MB for words in lines}
    return sizes["Anonymous:"], sizes["Rss:"]


def peak(work: Callable[[], object]) -> tuple[float, float]:
    """The most that `held` tells while this process works."""
    used, ended = [(0.0, 0.0)], threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            used.append(held())

    looking = threading.Thread(target=look)
    looking.start()
    work()
    ended.set()
    looking.join()
    return max(own for own, _ in used), max(rss for _, rss in used)


def one(dataset: str, student: str, images: int, side: int) -> None:
    """Print what a worker's process takes for one trial of method `ideal`: half noise, half generated."""
    import torch

    from raysys.cluster import trainable  # noqa: F401  # what a worker has imported
    from raysys.cluster.trial_files import TrialFiles
    from raysys.distill.options import parse_options
    from raysys.distill.trial import run_trial
    from raysys.models.classifiers import build_classifier
    from raysys.models.generators import Generator
    from raysys.oracle import Images, Response
    from raysys.records import EvalSet, Task, TrialConfig
    from raysys.store.layout import RunLayout

    class Lots:
        """An oracle that answers without looking."""

        epoch = 0

        def ask(self, images: Images, sequence: int) -> Response:
            return Response(np.arange(len(images)) % 10)

    torch.set_num_threads(1)
    task = Task(dataset, (1, side, side), 10, False)
    given = {"query_budget": images, "batch_size": BATCH, "epochs": 1, "g_steps": 1, "final_passes": 0}
    given |= {"warmup_share": 1 - BATCH / images, "warmup_rounds": 1, "passes": 1, "train_batch": BATCH}
    options = parse_options("ideal", given).model_dump()
    config = TrialConfig("u00000", "ideal", "hard", student, 0, options)
    val = EvalSet(np.zeros((1000, 1, side, side), np.uint8), np.zeros(1000, int), np.zeros(1000, int))
    networks = build_classifier(student, task, seed=0), Generator(task.image_shape, 256, options["g_width"])
    weights = [4 * sum(one.numel() for one in network.state_dict().values()) for network in networks]
    # Weights, gradients, what the optimizer keeps (Adam's of the generator twice), the average.
    must = 4 * weights[0] + 4 * weights[1]
    before, _ = held()
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        return saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        networks[0](networks[1](torch.zeros(BATCH, 256)))
    batch = sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) - sum(weights)
    saved.clear()
    with tempfile.TemporaryDirectory() as folder:
        files = TrialFiles(RunLayout.open(folder), "u00000")
        own, rss = peak(
            lambda: run_trial(config, task, Lots(), val, files, lambda _: None, time.monotonic)  # type: ignore[arg-type]
        )
    pool = images * (side * side + 8)
    print(before, pool / MB, must / MB, batch / MB, own, rss)


def workers(sizes: list[int]) -> None:
    table = Table("", "fixed", "pool", "networks", "batch", "peak", "besides", "resident", box=None)
    cases = [("digits", "mlp", 2000, 8), *(("mnist", "lenet5", size, 28) for size in sizes)]
    for case in cases:
        command = [sys.executable, __file__, "--one", ",".join(map(str, case))]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        fixed, pool, networks, batch, own, rss = map(float, told.split())
        besides = own - fixed - pool - networks - batch
        name, student, images, _ = case
        cells = [f"{value:.0f}" for value in (fixed, pool, networks, batch, own, besides, rss)]
        table.add_row(f"{name} {student}, {images:,} images", *cells)
    _OUT.print(table, f"MB; besides: at most {MOST_TRIAL} is wanted", "")


def run(concurrent: int, pack: int) -> None:
    """The most that all processes of a run take, at a look at which trials ran, `pack` in a process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "raysys.tune", "--space", "digits", "--storage", folder]
        command += ["--name", "run", "--progress", "none", "--trials", str(concurrent + 2), "--seed", "0"]
        command += ["--concurrent", str(concurrent), "--cpus-per-trial", "0.25", "-s", "final_passes=40"]
        command += ["--pack", str(pack)]
        said = Path(folder) / "said"
        with said.open("wb") as stream:
            driver = subprocess.Popen(command, stdout=stream, stderr=stream)
            most, processes = Counter[str](), defaultdict[str, int](int)
            while driver.poll() is None:
                time.sleep(LOOK_S)
                used, count = Counter[str](), Counter[str]()
                for process in family(driver.pid):
                    try:
                        line = " ".join(process.cmdline()) or process.name()
                        pss = process.memory_full_info().pss / MB
                    except psutil.Error:
                        continue
                    who = "driver" if process.pid == driver.pid else "Ray's own"
                    if line.startswith("ray::IDLE"):
                        who = "workers that wait"
                    who = next((name for name, title in TITLES.items() if line.startswith(title)), who)
                    used[who] += pss
                    count[who] += 1
                if used.total() > most.total():
                    most, processes = used, count
        if driver.returncode:
            sys.exit(said.read_text())
    table = Table("", "processes", "MB (pss)", box=None)
    for who, pss in most.most_common():
        table.add_row(who, str(processes[who]), f"{pss:.0f}")
    table.add_row("in all", str(sum(processes.values())), f"{most.total():.0f}  (target: {MOST_RUN})")
    _OUT.print(f"{concurrent} digits trials at a time, --pack {pack}, when they took the most", table, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", default="2000,20000,50000", help="pools of MNIST")
    parser.add_argument("--concurrent", type=int, default=8)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        dataset, student, images, side = arguments.one.split(",")
        one(dataset, student, int(images), int(side))
        return
    workers([int(size) for size in arguments.images.split(",")])
    for pack in PACKS:
        run(arguments.concurrent, pack)


if __name__ == "__main__":
    main()
