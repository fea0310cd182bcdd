import pytest
import torch

from raysys.errors import UsageError
from raysys.models.classifiers import CLASSIFIERS, build_classifier
from raysys.models.weights import state_sha256
from raysys.records import Task


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_every_classifier_gives_logits_for_small_images(name: str, shape: tuple[int, int, int]) -> None:
    model = build_classifier(name, Task("any", shape, 7, False), seed=0).eval()
    with torch.inference_mode():
        assert model(torch.rand(2, *shape)).shape == (2, 7)


def test_lenet5_has_its_published_size() -> None:
    lenet = build_classifier("lenet5", Task("mnist", (1, 28, 28), 10, False), seed=0)
    assert sum(parameter.numel() for parameter in lenet.parameters()) == 61_706


def test_weights_depend_on_the_seed_alone_and_leave_global_randomness_alone() -> None:
    task = Task("digits", (1, 8, 8), 10, False)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = build_classifier("cnn3", task, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    assert state_sha256(first) == state_sha256(build_classifier("cnn3", task, seed=5))
    assert state_sha256(first) != state_sha256(build_classifier("cnn3", task, seed=6))


def test_normalisation_is_inside() -> None:
    task = Task("any", (1, 8, 8), 10, False)
    model = build_classifier("lenet5", task, mean=[0.25], std=[0.5], seed=0)
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(model(images), model.net((images - 0.25) / 0.5))


def test_bad_input_is_refused() -> None:
    task = Task("any", (3, 8, 8), 10, False)
    with pytest.raises(UsageError, match=r"unknown architecture 'resnet19'(?s:.*)did you mean: resnet18"):
        build_classifier("resnet19", task, seed=0)
    with pytest.raises(UsageError, match=r"mean=\[0.5\].* 3 channels"):
        build_classifier("cnn3", task, mean=[0.5], seed=0)
    with pytest.raises(UsageError, match="at least 8x8 pixels, but got 4x4"):
        build_classifier("cnn3", Task("any", (3, 4, 4), 10, False), seed=0)
