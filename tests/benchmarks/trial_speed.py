"""How fast is IDEAL's trial here, against the published loop? Prints tables; see README.md beside it.

    python tests/benchmarks/trial_speed.py [--g-steps 3] [--rounds 3]
    python tests/benchmarks/trial_speed.py --accuracy [--g-steps 10] [--g-width 64] [--data-root DIR]

MNIST's shape, LeNet5, B=250, a generator with 64 channels, one thread. Times are of the CPU, the best of
rounds that alternate between all rows: other work on the machine disturbs them little. Steps of the generator
are alike: a few are measured, and images/s are those of 30. Distillation is a pass over 2,000 images.

`--accuracy`: 2,000 queries with labels asked once and the recipe of the preset `surrogate`, the same draws;
between rows only the arithmetic of the generator differs. Accuracy is on the val split. The generator's loss
is that of the first epoch, when all rows have the same student: later ones go their own way.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import published_ideal as published
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from raysys.cluster.problem import held_out
from raysys.data.datasets import default_data_root, load_dataset
from raysys.distill.engine import Alone, Generation
from raysys.distill.evaluation import evaluate
from raysys.distill.generation import generate
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.image_pool import ImagePool
from raysys.distill.method import Asked, Setting
from raysys.distill.options import parse_options
from raysys.distill.precision import computes_in_bfloat16
from raysys.distill.registry import build_method
from raysys.distill.student import StudentTrainer
from raysys.models.classifiers import build_classifier
from raysys.models.generators import Generator
from raysys.oracle import Images, Response
from raysys.records import EvalSet, Task, TrialConfig
from raysys.space.load import load_space
from raysys.teacher.local import TorchTeacher
from raysys.teacher.training import default_cache_dir, find_or_train

TASK = Task("mnist", (1, 28, 28), 10, False)
BATCH, STEPS, POOL = 250, 30, 2000
CPU = torch.device("cpu")
CONVOLUTIONS = ((14, 128, 128), (28, 128, 64), (28, 64, 1))
"""Side, inputs and outputs of the generator's; all 3x3."""
RECIPE = {
    "restart": True,
    "balance": True,
    "final_passes": 40,
    "train_batch": 128,
    "lr": 0.05,
    "augment": 0.4,
}
RECIPE |= {"weight_decay": 5e-3, "schedule": "cosine", "ema": 0.98, "passes": 4}

console = Console(width=110)
Jobs = Mapping[str, Callable[[], object]]


def fastest(jobs: Jobs, rounds: int) -> dict[str, float]:
    """CPU seconds of each, the best of `rounds`, one after the other in each round."""
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(rounds + 1):  # the first one warms up
        for name, job in jobs.items():
            start = time.process_time()
            job()
            best[name] = min(best[name], time.process_time() - start)
    return best


def operations(fused: bool) -> float:
    """Those of the convolutions in one step, forward and backward, a multiply-add as 2."""
    taps = [4 if fused and outputs > 1 else 9 for _, _, outputs in CONVOLUTIONS]
    return 3 * sum(
        2 * BATCH * side**2 * inputs * outputs * tap
        for (side, inputs, outputs), tap in zip(CONVOLUTIONS, taps, strict=True)
    )


def plain_rates(rounds: int) -> dict[torch.dtype, float]:
    """The best operations/s of a type in a large product or convolution, forward and backward."""
    jobs: dict[str, Callable[[], object]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        square = torch.randn(2048, 2048).to(dtype)
        maps = torch.randn(64, 128, 28, 28).to(dtype, memory_format=torch.channels_last).requires_grad_()
        kernel = (torch.randn(128, 128, 3, 3) / 30).to(dtype).requires_grad_()
        jobs[f"{dtype} product"] = lambda square=square: square @ square
        jobs[f"{dtype} convolution"] = lambda x=maps, w=kernel: _there_and_back(x, w)
    counted = {"product": 2 * 2048**3, "convolution": 3 * 2 * 64 * 28**2 * 128 * 128 * 9}
    rates: dict[torch.dtype, float] = {}
    for name, seconds in fastest(jobs, rounds).items():
        kind, what = name.split()
        dtype = getattr(torch, kind.removeprefix("torch."))
        rates[dtype] = max(rates.get(dtype, 0.0), counted[what] / seconds)
    return rates


def _there_and_back(maps: Tensor, kernel: Tensor) -> None:
    out = F.conv2d(maps, kernel, padding=1)
    torch.autograd.grad(out, (maps, kernel), out.detach())


def speed(g_steps: int, rounds: int) -> None:
    """The table of both stages."""
    student = build_classifier("lenet5", TASK, seed=0)
    ours = build_classifier("lenet5", TASK, seed=0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    theirs, mine, rng = published.PublishedGenerator(TASK.image_shape), Generator(TASK.image_shape), _rng(0)
    precisions = ["float32"] + ["auto"] * computes_in_bfloat16(CPU)
    options = {
        name: IdealOptions(query_budget=POOL, g_steps=g_steps, labels="official", precision=name)  # type: ignore[arg-type]
        for name in precisions
    }
    generation: dict[str, Callable[[], object]] = {
        "published": lambda: published.generate(theirs, student, BATCH, g_steps),
        **{
            name: lambda one=one: generate(mine, ours, one, TASK, rng)  # type: ignore[misc]
            for name, one in options.items()
        },
    }
    images, labels = (
        torch.randint(256, (POOL, *TASK.image_shape), dtype=torch.uint8),
        torch.randint(10, (POOL,)),
    )
    pool = ImagePool(TASK.image_shape, TASK.num_classes)
    pool.add(images.numpy(), Response(labels.numpy(), None))
    sgd = torch.optim.SGD(student.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    recipe = IdealOptions(query_budget=POOL, train_batch=BATCH, lr=0.01, augment=0.0)
    trainer = StudentTrainer(ours, recipe, TASK)
    distillation: dict[str, Callable[[], object]] = {
        "published": lambda: published.distill(student, sgd, images, labels, BATCH),
        "float32": lambda: trainer.run_pass(pool, rng),
    }

    rates = plain_rates(rounds)
    times = {name: value / g_steps for name, value in fastest(generation, rounds).items()}
    table = Table(title=f"generation: {g_steps} steps measured, images/s of {STEPS}")
    for column in ("loop", "ms a step", "images/s", "ratio", "operations", "GFLOP/s", "plain rate", "share"):
        table.add_column(column, justify="left" if column == "loop" else "right")
    for name, seconds in times.items():
        dtype = torch.bfloat16 if name == "auto" else torch.float32
        rate = operations(fused=name != "published") / seconds
        told = {"published": "published, float32", "float32": "raysys, float32", "auto": "raysys, bfloat16"}
        table.add_row(
            told[name],
            f"{1e3 * seconds:.0f}",
            f"{BATCH / STEPS / seconds:.1f}",
            f"{times['published'] / seconds:.2f}",
            f"{operations(fused=name != 'published') / 1e9:.1f} G",
            f"{rate / 1e9:.0f}",
            f"{rates[dtype] / 1e9:.0f}",
            f"{rate / rates[dtype]:.0%}",
        )
    console.print(table)
    passes = fastest(distillation, rounds)
    table = Table(
        "loop", "ms a pass", "images/s", "ratio", title=f"distillation: a pass over {POOL:,} images"
    )
    for name, seconds in passes.items():
        table.add_row(
            "published" if name == "published" else "raysys",
            f"{1e3 * seconds:.0f}",
            f"{POOL / seconds:.0f}",
            f"{passes['published'] / seconds:.2f}",
        )
    console.print(table)


class Unfused(Alone):
    """An engine whose generators compute as published."""

    def generate(self, work: Generation) -> tuple[Tensor, float]:
        generator = published.PublishedGenerator(TASK.image_shape, width=work.options.g_width)
        generator.load_state_dict(work.generator.state_dict())
        return super().generate(replace(work, generator=generator))  # type: ignore[arg-type]


class Answers:
    """A teacher that is asked by one trial. A `distill.method.Requests`."""

    def __init__(self, teacher: TorchTeacher) -> None:
        self._teacher = teacher

    def ask(self, images: Images, sequence: int) -> Asked:
        return Asked(images, Response(self._teacher.answer(images).labels, None))


def accuracy(g_steps: int, g_width: int, seeds: Sequence[int], data_root: Path) -> None:
    """The table of trials that differ in the generator's arithmetic only."""
    dataset, space = load_dataset("mnist", data_root), load_space("mnist")
    teacher = TorchTeacher(find_or_train(space.teacher, dataset, default_cache_dir(), lambda *_: None).module)
    val, _ = held_out(space, dataset)
    shown = EvalSet(val.images, val.labels, teacher.answer(val.images).labels)
    rows = {"published, float32": ("float32", Unfused()), "raysys, float32": ("float32", Alone())}
    if computes_in_bfloat16(CPU):
        rows["raysys, bfloat16"] = ("auto", Alone())
    found: dict[str, list[float]] = {name: [] for name in rows}
    losses: dict[str, list[float]] = {name: [] for name in rows}
    for seed in seeds:
        for name, (precision, engine) in rows.items():
            start = time.process_time()
            given = {
                "query_budget": POOL,
                "epochs": POOL // BATCH,
                "g_steps": g_steps,
                "g_width": g_width,
                "precision": precision,
            }
            options = parse_options("ideal", {**RECIPE, **given}).model_dump()
            config = TrialConfig("u00000", "ideal", "hard", "lenet5", seed, options)
            method = build_method(Setting(config, TASK, Answers(teacher), engine=engine))
            first, *_ = list(method.run())
            losses[name].append(first.losses["generator"])
            found[name].append(100 * float(evaluate(method.student, shown)[0] or 0))
            spent = time.process_time() - start
            console.print(f"seed {seed}  {name:20}  {found[name][-1]:.1f} %  {spent:.0f} s of CPU")
    which = f"{POOL:,} queries, {g_steps} steps, {g_width} channels, seeds {', '.join(map(str, seeds))}"
    table = Table("generator", "val accuracy %", "each", "first epoch's loss", title=f"MNIST, {which}")
    for name, values in found.items():
        each = ", ".join(f"{value:.1f}" for value in values)
        table.add_row(name, _spread(values, 1), each, _spread(losses[name], 4))
    console.print(table)


def _spread(values: Sequence[float], digits: int) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--g-steps", type=int, help="generator steps [default: 3, of --accuracy 10]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--g-width", type=int, default=64, help="channels, with --accuracy")
    parser.add_argument("--data-root", type=Path, default=default_data_root())
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    console.print(
        f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, 1 thread"
    )
    if chosen.accuracy:
        seeds = [int(seed) for seed in chosen.seeds.split(",")]
        accuracy(chosen.g_steps or 10, chosen.g_width, seeds, chosen.data_root)
    else:
        speed(chosen.g_steps or 3, chosen.rounds)


if __name__ == "__main__":
    main()
