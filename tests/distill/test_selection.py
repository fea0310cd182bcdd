import pytest
import torch
from torch import Tensor, nn

from raysys.distill.selection import pick, unsure
from raysys.models.classifiers import build_classifier
from raysys.records import Task


class Logits(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def as_images(logits: list[list[float]]) -> Tensor:
    """Images whose pixels are their own logits."""
    return torch.tensor(logits).view(len(logits), 1, 1, -1)


def test_the_smallest_margin_of_each_predicted_class_comes_first() -> None:
    candidates = as_images(
        [
            [3.0, 0.0, 0.0],  # class 0, clear
            [1.0, 0.9, 0.0],  # class 0, the least clear of all
            [2.0, 0.0, 0.0],  # class 0
            [0.0, 5.0, 0.0],  # the only one of class 1
            [0.0, 0.0, 1.0],  # class 2
            [0.0, 0.0, 4.0],  # class 2, clear
        ]
    )
    chosen = pick(Logits(), candidates, 5)
    assert chosen.tolist() == [1, 4, 3, 2, 5]


@pytest.mark.parametrize("n", [0, 1, 10, 40])
def test_indices_are_distinct_and_cover_what_is_predicted(n: int) -> None:
    candidates = torch.rand(40, 1, 1, 5, generator=torch.Generator().manual_seed(0))
    chosen = pick(Logits(), candidates, n)
    assert len(chosen) == len(set(chosen.tolist())) == n
    classes = candidates.flatten(1).argmax(dim=1)
    assert len(classes[chosen].unique()) == min(n, len(classes.unique()))


def test_unsure_is_whom_no_class_is_given_more_than_the_threshold() -> None:
    probabilities = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6], [0.9, 0.05, 0.05], [0.34, 0.33, 0.33]])
    candidates = as_images(probabilities.clamp_min(1e-9).log().tolist())
    assert unsure(Logits(), candidates, 0.55).tolist() == [True, False, False, True]
    assert unsure(Logits(), candidates, 0.7).tolist() == [True, True, False, True]
    assert not unsure(Logits(), candidates, 0.33).any()
    even = as_images([[0.0, 0.0]])
    assert unsure(Logits(), even, 0.5).tolist() == [True], "the threshold itself passes, as in the release"


@pytest.mark.parametrize("training", [True, False])
def test_the_students_mode_is_kept_and_its_statistics_do_not_move(training: bool) -> None:
    student = build_classifier("cnn3", Task("x", (1, 8, 8), 10, False), seed=0).train(training)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    candidates = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    pick(student, candidates, 5)
    unsure(student, candidates, 0.5)
    assert student.training is training
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
