import pytest
import torch

from raysys.distill.noise import structured_noise


def noise(n: int, shape: tuple[int, int, int], seed: int = 0) -> torch.Tensor:
    return structured_noise(n, shape, flip=False, rng=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 48)])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_images_have_the_tasks_shape_and_range(n: int, shape: tuple[int, int, int]) -> None:
    images = noise(n, shape)
    assert images.shape == (n, *shape)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert (images.flatten(1).std(dim=1) > 0.01).all(), "no image is blank"


def test_the_seed_decides_all() -> None:
    assert torch.equal(noise(9, (1, 8, 8)), noise(9, (1, 8, 8)))
    assert not torch.equal(noise(9, (1, 8, 8)), noise(9, (1, 8, 8), seed=1))


def test_neighbours_are_alike_unlike_in_uniform_noise() -> None:
    images = noise(200, (1, 28, 28))
    steps = (images[..., 1:] - images[..., :-1]).square().mean()
    assert steps < 0.3 * 2 * images.var(), "a difference of independent pixels has twice their variance"
