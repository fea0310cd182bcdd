from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn

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


def test_what_another_thread_draws_meanwhile_changes_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task("digits", (1, 8, 8), 10, False)

    def disturbed(task: Task) -> nn.Module:
        layers = [nn.Flatten(), nn.Linear(64, 20)]
        with ThreadPoolExecutor(1) as other:
            other.submit(nn.Linear, 3, 3).result()
        return nn.Sequential(*layers, nn.Linear(20, 10))

    def calm(task: Task) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Linear(20, 10))

    monkeypatch.setitem(CLASSIFIERS, "disturbed", disturbed)
    monkeypatch.setitem(CLASSIFIERS, "calm", calm)
    first, second = (build_classifier(name, task, seed=5) for name in ("disturbed", "calm"))
    assert state_sha256(first) == state_sha256(second)


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


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (1, 9, 11)])
def test_lenet5_is_a_convolution_a_relu_and_a_pooling(shape: tuple[int, int, int]) -> None:
    """Its first layer computes them together: the same outputs and gradients."""
    net = build_classifier("lenet5", Task("any", shape, 10, False), seed=0).net
    assert isinstance(net, nn.Sequential)
    weight, bias = net[0].parameters()
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0)) - 0.5
    plain = F.max_pool2d(F.conv2d(images, weight, bias, padding=2 if shape[1] < 32 else 0).relu(), 2)
    results = []
    for pooled in (net[:3](images), plain):
        pull = torch.linspace(-1, 1, pooled.numel()).view_as(pooled)
        results.append([pooled, *torch.autograd.grad((pooled * pull).sum(), [weight, bias])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
