"""How many trials an hour, one after the other and packed? Prints a table.

    OMP_NUM_THREADS=1 python tests/benchmarks/packing.py --device cpu --packs 1 2 4
    python tests/benchmarks/packing.py --device cuda --side 28 --packs 1 2 4 8 16 32

Each trial is IDEAL with its own seed and learning rates: LeNet5, `--side` pixels, 10 classes, a generator
with 64 channels, B = 250, `--budget` queries with labels asked once. The teacher is an untrained LeNet5 at
hand: what it answers does not matter here, and it costs next to nothing. `alone` makes trials with no pack.

A CPU's hours are those of its time on one thread, which other work on the machine disturbs little; a GPU's
are those on the clock. A device that is not asked for, or not there, is not measured.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import torch
from rich.console import Console
from rich.table import Table

from raysys.distill.engine import ALONE, Engine
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.pack import Pack
from raysys.distill.pack_size import auto_pack, trial_bytes
from raysys.distill.trial import run_trial
from raysys.models.classifiers import build_classifier
from raysys.oracle import Images, Response
from raysys.records import EvalSet, Report, Task, TrialConfig
from raysys.teacher.local import TorchTeacher

STUDENT, BATCH = "lenet5", 250
NOT = "not measured"


class Untrained:
    """A teacher at hand, that keeps no ledger."""

    epoch = 0

    def __init__(self, task: Task) -> None:
        self._teacher = TorchTeacher(build_classifier(STUDENT, task, seed=99))

    def ask(self, images: Images, sequence: int) -> Response:
        """See `raysys.oracle.Oracle`."""
        return self._teacher.answer(images)


class Nowhere:
    """A `Keeper` that keeps nothing."""

    def load(self) -> bytes | None:
        return None

    def save(self, state: bytes, sequence: int) -> None: ...

    def keep_request(self, sequence: int, images: Images) -> None: ...

    def kept_request(self, sequence: int) -> Images | None:
        return None

    def keep_pairs(self, first: int, images: Images, response: Response) -> None: ...

    def show(self, step: int, samples: Images) -> None: ...


class Bench:
    """Trials of one shape on one device."""

    def __init__(self, device: str, side: int, budget: int, g_steps: int) -> None:
        self.task = Task("digits", (1, side, side), 10, False)
        self.options = IdealOptions(
            query_budget=budget, batch_size=BATCH, epochs=budget // BATCH, g_steps=g_steps, final_passes=10
        )
        self._device = device
        self._oracle = Untrained(self.task)
        images = (torch.rand(500, *self.task.image_shape) * 255).byte().numpy()
        self._val = EvalSet(images, None, self._oracle.ask(images, 0).labels)

    def trial(self, number: int, engine: Engine = ALONE) -> Sequence[Report]:
        """The reports of a trial with its own seed and learning rates."""
        own = {**self.options.model_dump(), "lr": 0.01 + 0.01 * (number % 5), "g_lr": 1e-3 * (1 + number % 3)}
        config = TrialConfig(f"u{number:05}", "ideal", "hard", STUDENT, number, own)
        nothing = lambda reports: None  # noqa: E731
        run = run_trial(
            config,
            self.task,
            self._oracle,
            self._val,
            Nowhere(),
            nothing,
            time.monotonic,
            self._device,
            engine=engine,
        )
        return run.reports

    def alone(self, k: int) -> None:
        """k trials, one after the other."""
        for number in range(k):
            self.trial(number)

    def packed(self, k: int) -> None:
        """k trials in one pack."""
        pack = Pack()

        def run(number: int, stack: ExitStack, engine: Engine) -> None:
            with stack:
                self.trial(number, engine)

        with ThreadPoolExecutor(k) as threads:
            members = [(stack := ExitStack(), stack.enter_context(pack.member())) for _ in range(k)]
            futures = [threads.submit(run, number, *member) for number, member in enumerate(members)]
        for future in futures:
            future.result()

    def an_hour(self, work: Callable[[int], None], k: int) -> float:
        """Trials an hour of `work` on k of them."""
        clock = time.perf_counter if self._device == "cuda" else time.process_time
        start = clock()
        work(k)
        return 3600 * k / (clock() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--packs", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--side", type=int, default=8)
    parser.add_argument("--budget", type=int, default=500)
    parser.add_argument("--g-steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1, help="each row is the best of so many")
    given = parser.parse_args()
    there = given.device == "cpu" or torch.cuda.is_available()

    rates: dict[tuple[str, int], float] = {}
    need, fits = NOT, NOT
    if there:
        bench = Bench(given.device, given.side, given.budget, given.g_steps)
        need_bytes = trial_bytes(bench.task, STUDENT, bench.options)
        need = f"{need_bytes / 2**20:,.0f} MiB"
        fits = str(auto_pack(given.device, need_bytes))
        bench.alone(1)  # warms up
        for _ in range(given.rounds):
            jobs = [("alone", 1, bench.alone), *(("packed", k, bench.packed) for k in given.packs)]
            for name, k, work in jobs:
                rates[name, k] = max(rates.get((name, k), 0), bench.an_hour(work, k))

    table = Table(
        "", *(f"{name}: {what}" for name in ("cpu", "cuda") for what in ("trials/h", "against alone"))
    )
    for name, k in [("alone", 1), *(("packed", k) for k in given.packs)]:
        cells = []
        for device in ("cpu", "cuda"):
            if device != given.device or not there:
                cells += [NOT, NOT]
                continue
            rate = rates[name, k]
            cells += [f"{rate:,.0f}", f"{rate / rates['alone', 1]:.2f} x"]
        table.add_row(name if name == "alone" else f"packs of {k}", *cells)
    console = Console(width=100)
    console.print(table)
    console.print(f"a trial needs about {need} (estimated); `auto` would pack {fits}")


if __name__ == "__main__":
    main()
