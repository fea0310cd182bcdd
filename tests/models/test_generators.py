import pytest
import torch
import torch.nn.functional as F
from benchmarks.published_ideal import PublishedGenerator
from torch import nn

from raysys.errors import UsageError
from raysys.models.generators import Generator, UpConv2d, reset
from raysys.models.weights import state_sha256


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_images_have_the_asked_shape_and_range(shape: tuple[int, int, int]) -> None:
    generator = Generator(shape, latent_dim=16, width=8)
    images = generator(torch.randn(3, 16))
    assert images.shape == (3, *shape)
    assert images.min() >= 0 and images.max() <= 1


def test_sides_that_are_no_multiple_of_four_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot make images of 30x30"):
        Generator((1, 30, 30))


def test_a_reset_depends_on_its_random_generator_alone() -> None:
    one, other = (Generator((1, 8, 8), latent_dim=16, width=8) for _ in range(2))
    one(torch.randn(4, 16))  # moves the running statistics
    reset(one, torch.Generator().manual_seed(3))
    reset(other, torch.Generator().manual_seed(3))
    assert state_sha256(one) == state_sha256(other)
    reset(other, torch.Generator().manual_seed(4))
    assert state_sha256(one) != state_sha256(other)


def test_a_reset_draws_the_published_distributions() -> None:
    generator = Generator((1, 28, 28))
    reset(generator, torch.Generator().manual_seed(0))
    linear, norm, conv = generator.net[0], generator.net[2], generator.net[4]
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert conv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.3)
    assert not any(module.bias.any() for module in (linear, norm, conv))


@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (5, 3), (7, 7)])
def test_upsampling_and_convolution_in_one_is_the_same_up_to_rounding(sides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = UpConv2d(3, 4).double()
    images = torch.randn(2, 3, *sides, dtype=torch.float64, requires_grad=True)
    plain = F.conv2d(F.interpolate(images, scale_factor=2), layer.weight, padding=1)
    assert torch.allclose(layer(images), plain, atol=1e-12)
    direction, inputs = torch.randn_like(plain), (images, layer.weight)
    expected = torch.autograd.grad(plain, inputs, direction)
    found = torch.autograd.grad(layer(images), inputs, direction)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_it_is_the_published_network_with_the_same_names_of_weights() -> None:
    """That of the benchmarks, whatever the biases of its convolutions before a batch norm are."""
    published = PublishedGenerator((3, 12, 8), latent_dim=16, width=8).double()
    generator = Generator((3, 12, 8), latent_dim=16, width=8).double()
    reset(generator, torch.Generator().manual_seed(0))
    for layer in (4, 8):
        nn.init.normal_(generator.net[layer].bias, generator=torch.Generator().manual_seed(layer))
    published.load_state_dict(generator.state_dict())
    z = torch.randn(6, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    images = generator(z)
    assert torch.allclose(images, published(z).float(), atol=1e-6)
    assert images.dtype == torch.float32


def test_maps_stay_in_one_layout() -> None:
    layouts: list[bool] = []
    generator = Generator((1, 28, 28), latent_dim=16, width=8)
    for module in generator.net[1:]:
        module.register_forward_hook(
            lambda _, __, maps: layouts.append(maps.is_contiguous(memory_format=torch.channels_last))
        )
    generator(torch.randn(3, 16))
    assert len(layouts) == 11
    assert all(layouts)
