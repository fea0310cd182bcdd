import pytest
import torch

from raysys.errors import UsageError
from raysys.models.generators import Generator, reset
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
