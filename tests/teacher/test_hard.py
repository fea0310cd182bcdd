import copy

import numpy as np
import pytest
import torch
from tiny_trial import Counts, linear, pictures
from torch import nn

from raysys.oracle import Images
from raysys.teacher.hard import ENOUGH, Half, HardTeacher, Network
from raysys.teacher.local import TorchTeacher


def network(module: nn.Module, rows: int = 32) -> Network:
    return Network(copy.deepcopy(module), "cpu", torch.float32, rows)


def labels(teacher: HardTeacher, images: Images) -> list[int]:
    response = teacher.predict(images, Counts())
    assert response.probabilities is None
    assert response.labels.dtype == np.int64
    return response.labels.tolist()


def truth(module: nn.Module, images: Images) -> list[int]:
    return TorchTeacher(copy.deepcopy(module)).answer(images).labels.tolist()


def test_labels_are_those_of_the_module_and_counted_once() -> None:
    images, meter = pictures(70), Counts()
    assert HardTeacher(network(linear(), rows=32)).predict(images, meter).labels.tolist() == truth(
        linear(), images
    )
    assert meter.spans == [(0, 70)]


class Rough(nn.Module):
    """Logits of another network, each moved by up to 0.4: a precision that is really bad."""

    def __init__(self) -> None:
        super().__init__()
        self.exact = linear()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.exact(images)
        return logits + 0.4 * torch.sin(1000 * logits)


def test_what_is_not_clear_in_half_precision_is_asked_of_float32() -> None:
    images = pictures(500)
    rough = network(Rough())
    assert rough(images).argmax(dim=1).tolist() != truth(linear(), images), "it does change labels"
    assert labels(HardTeacher(network(linear()), Half(rough, 0.8)), images) == truth(linear(), images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_with_its_margin_gives_the_same_labels(dtype: torch.dtype) -> None:
    full = network(linear())
    images = pictures(2000)
    reduced = full.reduced(dtype)
    moved = reduced(images) - full(images)
    margin = float((moved.amax(dim=1) - moved.amin(dim=1)).max())
    assert margin > 0
    assert labels(HardTeacher(full, Half(reduced, margin)), images) == truth(linear(), images)


class Overflows(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 10), torch.nan)


def test_what_overflows_in_half_precision_is_asked_of_float32() -> None:
    half = Half(network(Overflows()), 0.1)
    assert labels(HardTeacher(network(linear()), half), pictures(9)) == truth(linear(), pictures(9))


class Watched(nn.Module):
    """How many images were computed."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.images = inner, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images += len(images)
        out: torch.Tensor = self.inner(images)
        return out


def test_half_precision_is_given_up_where_most_answers_are_near_ties() -> None:
    half = Watched(Rough())
    teacher = HardTeacher(network(linear()), Half(Network(half, "cpu", torch.float32, 32), 1e9))
    images = pictures(ENOUGH // 2)
    for _ in range(5):
        assert labels(teacher, images) == truth(linear(), images)
    assert half.images == ENOUGH


class Grouped(nn.Module):
    """The classes 3 and 7 tie but for rounding, that depends on how many images share the forward."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), 10)
        logits[:, 3], logits[:, 7] = 1.0, 1 + 1e-6 * (-1) ** len(images)
        return logits


def test_answers_do_not_depend_on_what_shares_the_forward() -> None:
    teacher = HardTeacher(network(Grouped(), rows=8))
    found = [label for n in (1, 2, 3, 5, 9) for label in labels(teacher, pictures(n))]
    assert set(found) == {7}
