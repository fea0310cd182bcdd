import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trial import TASK, pictures
from torch import nn

from raysys.distill.engine import ALONE, Generation, Pass
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.image_pool import ImagePool
from raysys.distill.packed_generation import generate_together
from raysys.distill.packed_pass import run_passes_together
from raysys.distill.student import StudentTrainer
from raysys.distill.together import Job, finish
from raysys.models.classifiers import build_classifier
from raysys.models.generators import Generator
from raysys.oracle import Response

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {"augment": 0.0},
    "sgd": {"ema": 0.9, "mixup": 0.3},
    "adamw": {"optimizer": "adamw", "ema": 0.5},
}
OWN: list[dict[str, Any]] = [
    {"lr": 1.0, "weight_decay": 0.0, "wrong_weight": 1.0},
    {"lr": 0.2, "weight_decay": 5e-4, "wrong_weight": 3.0},
    {"lr": 0.5, "weight_decay": 1e-2, "wrong_weight": 1.0},
]


def a_pass(number: int, student: str, n: int, primed: bool, **recipe: Any) -> Pass:
    scale = 1e-3 if recipe.get("optimizer") == "adamw" else 0.02
    own = {**OWN[number], "lr": scale * OWN[number]["lr"]}
    pool = ImagePool(TASK.image_shape, TASK.num_classes)
    pool.add(pictures(n, number), Response(np.random.default_rng(number).integers(0, 10, n)))
    network = build_classifier(student, TASK, seed=number).to(memory_format=torch.channels_last)
    trainer = StudentTrainer(
        network,
        IdealOptions(train_batch=16, **{**recipe, **own}),
        TASK,
        total_passes=(0, 3, 5)[number],
        primer=build_classifier(student, TASK, seed=9 + number).eval() if primed else None,
        primer_weight=0.2 + 0.1 * number,
    )
    return Pass(trainer, pool, torch.Generator().manual_seed(number))


def tensors(state: Any) -> list[torch.Tensor]:
    """All numbers of a saved state, in its order."""
    if isinstance(state, dict):
        return [tensor for key in state for tensor in tensors(state[key])]
    if isinstance(state, list):
        return [tensor for one in state for tensor in tensors(one)]
    return [] if state is None else [torch.as_tensor(state)]


def states(saved: dict[str, Any]) -> list[torch.Tensor]:
    """All weights, all averages, and each list that the optimizer keeps, as one tensor each."""
    kept = [saved["student"], saved["average"], *saved["optimizer"]["state"], saved["optimizer"]["rate"]]
    parts = [tensors(one) for one in kept if one is not None]
    return [torch.cat([part.flatten().double() for part in each]) for each in parts]


def apart(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    return float((first - second).detach().abs().max() / second.detach().abs().max())


@pytest.mark.parametrize("primed", [False, True], ids=["", "primed"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("student", ["mlp", "lenet5", "cnn3"])
def test_passes_done_together_are_the_same_passes(student: str, recipe: str, primed: bool) -> None:
    """Pools of several sizes: a last batch of 1, of 7, and none at all. Same draws, same states."""
    together = [
        a_pass(number, student, n, primed, **RECIPES[recipe]) for number, n in enumerate((71, 49, 32))
    ]
    alone = copy.deepcopy(together)
    losses = run_passes_together(together)
    assert losses == pytest.approx([ALONE.run_pass(work) for work in alone], rel=1e-4)
    images = torch.from_numpy(pictures(40, 9)).float() / 255
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one.rng.get_state(), other.rng.get_state())
        saved, straight = one.trainer.state_dict(), other.trainer.state_dict()
        for mine, its in zip(tensors(saved), tensors(straight), strict=True):
            assert (mine.shape, mine.dtype) == (its.shape, its.dtype)
            assert its.is_floating_point() or torch.equal(mine, its)
        for mine, its in zip(states(saved), states(straight), strict=True):
            assert apart(mine, its) < 1e-3
        assert apart(one.trainer.best.eval()(images), other.trainer.best.eval()(images)) < 1e-3


def test_an_empty_pool_changes_nothing_in_company_either() -> None:
    full, empty = a_pass(0, "mlp", 20, False), a_pass(1, "mlp", 0, False)
    before = [tensor.clone() for tensor in tensors(empty.trainer.student.state_dict())]
    assert run_passes_together([full, empty])[1] == 0
    assert empty.trainer.passes == 1
    for now, then in zip(tensors(empty.trainer.student.state_dict()), before, strict=True):
        assert torch.equal(now, then)


def a_generation(
    number: int, student: str, g_steps: int, latent_lr: float = 0.0, **options: Any
) -> Generation:
    own: dict[str, Any] = {
        "g_steps": g_steps,
        "g_lr": (1e-3, 2e-3, 5e-4)[number],
        "entropy_weight": float(number),
        "target_smoothing": 0.1 * number,
        "latent_lr": latent_lr * (number + 1),
    }
    small = IdealOptions(batch_size=20, g_width=8, latent_dim=8, **{**own, **options})
    with torch.random.fork_rng():
        torch.manual_seed(number)
        generator = Generator(TASK.image_shape, 8, 8)
    network = build_classifier(student, TASK, seed=number)
    return Generation(generator, network, small, TASK, torch.Generator().manual_seed(number))


@pytest.mark.parametrize("student", ["mlp", "cnn3"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"labels": "official"},
        {"entropy": "batch_marginal", "latent_lr": 0.01},
        {"reset_generator": False},
    ],
    ids=str,
)
def test_batches_made_together_are_the_same_batches(student: str, options: dict[str, Any]) -> None:
    """In float32; the most steps come first, as the kernel wants it."""
    together = [
        a_generation(number, student, steps, precision="float32", **options)
        for number, steps in enumerate((6, 4, 1))
    ]
    alone = copy.deepcopy(together)
    made = generate_together(together)
    for one, other, (images, loss) in zip(together, alone, made, strict=True):
        straight, its_loss = ALONE.generate(other)
        assert (images - straight).abs().max() < 1e-4
        assert loss == pytest.approx(its_loss, rel=1e-4, abs=1e-6), "a difference of terms near 1"
        assert torch.equal(one.rng.get_state(), other.rng.get_state())
        assert one.student.training
        assert one.generator.training
        statistics = (network.net[2].running_var for network in (one.generator, other.generator))
        assert apart(*statistics) < 1e-4


def test_in_bfloat16_they_are_as_close_as_its_digits() -> None:
    """At the first step; later, a difference grows as fast as that of any two roundings."""
    together = [a_generation(number, "mlp", 1) for number in range(3)]
    alone = copy.deepcopy(together)
    for work, (images, _) in zip(alone, generate_together(together), strict=True):
        assert (images - ALONE.generate(work)[0]).abs().max() < 2**-8


class Stubborn(nn.Module):
    """Looks at a number on its way: that cannot be done for several networks at once."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(images.flatten(1))
        return logits if float(logits.detach().sum()) > 0 else 2 * logits


def test_what_cannot_be_done_together_is_done_one_by_one_and_told() -> None:
    works = [a_pass(number, "mlp", 32, False) for number in range(3)]
    works = [replace(work, trainer=StudentTrainer(Stubborn(), work.trainer.recipe, TASK)) for work in works]
    alone = copy.deepcopy(works)
    jobs = [Job(work) for work in works]
    with pytest.warns(RuntimeWarning, match="3 trials could not be trained as one"):
        finish(jobs)
    assert [job.outcome.result() for job in jobs] == [ALONE.run_pass(work) for work in alone]
