import copy
from collections.abc import Iterable

import pytest
import torch
from tiny_trial import TASK
from torch import nn

from raysys.distill.ideal_options import IdealOptions
from raysys.models.classifiers import build_classifier
from raysys.models.optimizer import Optimizer, make_optimizer

STEPS = 5


def torchs(kind: str, student: nn.Module, recipe: IdealOptions) -> torch.optim.Optimizer:
    if kind == "adamw":
        return torch.optim.AdamW(student.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    decay = recipe.weight_decay
    return torch.optim.SGD(student.parameters(), recipe.lr, momentum=0.9, weight_decay=decay, nesterov=True)


def of(parameters: Iterable[torch.Tensor], recipe: IdealOptions) -> Optimizer:
    return make_optimizer(recipe.optimizer, parameters, recipe.lr, recipe.weight_decay)


def learn(student: nn.Module, seed: int) -> None:
    images = torch.rand(8, *TASK.image_shape, generator=torch.Generator().manual_seed(seed))
    student(images).logsumexp(dim=1).sum().backward()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_it_steps_as_torchs_own_optimizer_does(kind: str) -> None:
    """Also in channels last, where weights do not lie in memory in the order of their indices."""
    recipe = IdealOptions(optimizer=kind, lr=0.01, weight_decay=0.1)  # type: ignore[arg-type]
    ours = build_classifier("cnn3", TASK, seed=0).to(memory_format=torch.channels_last)
    theirs = copy.deepcopy(ours)
    optimizer, reference = of(ours.parameters(), recipe), torchs(kind, theirs, recipe)
    for step in range(STEPS):
        optimizer.rate = reference.param_groups[0]["lr"] = 0.01 / (1 + step)
        learn(ours, step)
        optimizer.step()
        learn(theirs, step)
        reference.step()
        reference.zero_grad()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert own.grad is None
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_saved_one_goes_on_as_if_nothing_had_happened(kind: str) -> None:
    recipe = IdealOptions(optimizer=kind)  # type: ignore[arg-type]
    straight = build_classifier("lenet5", TASK, seed=0)
    first = of(straight.parameters(), recipe)
    learn(straight, 0)
    first.step()
    resumed = copy.deepcopy(straight)
    second = of(resumed.parameters(), recipe)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for student, optimizer in ((straight, first), (resumed, second)):
        learn(student, 1)
        optimizer.step()
    for own, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("steps", [0, 2])
def test_it_goes_on_where_torchs_own_stood(kind: str, steps: int) -> None:
    """Trials that an earlier raysys began have such states."""
    recipe = IdealOptions(optimizer=kind, lr=0.01)  # type: ignore[arg-type]
    theirs = build_classifier("mlp", TASK, seed=0)
    reference = torchs(kind, theirs, recipe)
    for step in range(steps):
        learn(theirs, step)
        reference.step()
        reference.zero_grad()
    ours = copy.deepcopy(theirs)
    optimizer = of(ours.parameters(), recipe)
    optimizer.load_state_dict(reference.state_dict())
    for student, one in ((theirs, reference), (ours, optimizer)):
        learn(student, steps)
        one.step()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)
