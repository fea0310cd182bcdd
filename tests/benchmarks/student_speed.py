"""What a step of a student costs, part by part, and beside it the floor: forward and backward alone.

    python tests/benchmarks/student_speed.py

On one thread, in CPU time, the best of several rounds that take turns; random images with the recipes of the
presets `best` of the spaces digits and mnist, and MNIST's for CIFAR's shape. `prepare`: drawing a pass, and
gathering and augmenting its images. `rest`: the running average, the rate, the loop, and clocks that differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import process_time

import numpy as np
import torch
from torch import Tensor

from raysys.distill.batches import Batches
from raysys.distill.determinism import compute_deterministically
from raysys.distill.evaluation import predict
from raysys.distill.image_pool import ImagePool
from raysys.distill.losses import soft_cross_entropy
from raysys.distill.noise_options import NoiseOptions
from raysys.distill.student import StudentTrainer
from raysys.models.classifiers import build_classifier
from raysys.models.optimizer import make_optimizer
from raysys.oracle import Response
from raysys.records import Task

ROUNDS = 5
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """A student, the pool that it learns from, and its augmentation."""

    name: str
    architecture: str
    shape: tuple[int, int, int]
    images: int
    augment: float


CASES = (
    Case("mlp, digits", "mlp", (1, 8, 8), 2048, 0.1),
    Case("lenet5, MNIST", "lenet5", (1, 28, 28), 1024, 0.4),
    Case("cnn3, CIFAR-10's shape", "cnn3", (3, 32, 32), 256, 0.4),
)


class Bench:
    """The parts of one case; each returns how many steps or images it did."""

    def __init__(self, case: Case) -> None:
        self.task = Task("random", case.shape, 10, False)
        draws = np.random.default_rng(0)
        self.images = draws.integers(0, 256, (case.images, *case.shape)).astype(np.uint8)
        self.pool = ImagePool(case.shape, 10)
        self.pool.add(self.images, Response(draws.integers(0, 10, case.images)))
        self.recipe = NoiseOptions(augment=case.augment, ema=0.98, train_batch=128)
        self.rng = torch.Generator().manual_seed(0)
        student = build_classifier(case.architecture, self.task, seed=0)
        student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trainer = StudentTrainer(student, self.recipe, self.task, total_passes=1000)
        self.student = student
        self.optimizer = make_optimizer(
            self.recipe.optimizer, student.parameters(), self.recipe.lr, self.recipe.weight_decay
        )
        self.batch = next(iter(self.batches()))
        self.steps = len(self.batches())
        self.learn()
        self.gradients = self.take_gradients()

    def batches(self) -> Batches:
        return Batches(self.pool, self.recipe, self.task, self.rng, CPU)

    def take_gradients(self) -> list[Tensor | None]:
        gradients = [parameter.grad for parameter in self.student.parameters()]
        for parameter in self.student.parameters():
            parameter.grad = None
        return gradients

    def learn(self) -> None:
        images, targets = self.batch
        soft_cross_entropy(self.student(images), targets).backward()  # type: ignore[no-untyped-call]

    def whole(self) -> None:
        self.trainer.run_pass(self.pool, self.rng)

    def prepare(self) -> None:
        for _ in self.batches():
            pass

    def floor(self) -> None:
        for _ in range(self.steps):
            self.learn()
            self.take_gradients()

    def optimize(self) -> None:
        for _ in range(self.steps):
            for parameter, gradient in zip(self.student.parameters(), self.gradients, strict=True):
                parameter.grad = gradient
            self.optimizer.step()

    def evaluate(self) -> None:
        predict(self.student, self.images)


def seconds(work: Callable[[], None]) -> float:
    """CPU seconds of `work`, done as often as it needs to be measured."""
    times, start = 0, process_time()
    while times == 0 or process_time() - start < 0.1:
        work()
        times += 1
    return (process_time() - start) / times


def main() -> None:
    """See the module."""
    torch.set_num_threads(1)
    compute_deterministically()
    print(f"{'':24}{'ms a step':>44}{'images/s':>30}")
    names = ("whole", "prepare", "floor", "optimizer", "rest")
    print(f"{'':24}{''.join(f'{name:>10}' for name in names)}{'pass':>10}{'floor':>10}{'evaluate':>10}")
    for case in CASES:
        bench = Bench(case)
        parts = (bench.whole, bench.prepare, bench.floor, bench.optimize, bench.evaluate)
        rounds = [[seconds(part) for part in parts] for _ in range(ROUNDS)]
        whole, prepare, floor, optimizer, evaluate = (min(times) for times in zip(*rounds, strict=True))
        rest = whole - prepare - floor - optimizer
        told = [1000 * part / bench.steps for part in (whole, prepare, floor, optimizer, rest)]
        rates = [case.images / part for part in (whole, floor, evaluate)]
        print(f"{case.name:24}{''.join(f'{x:10.3f}' for x in told)}{''.join(f'{x:10,.0f}' for x in rates)}")


if __name__ == "__main__":
    main()
