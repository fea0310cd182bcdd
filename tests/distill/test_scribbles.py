"""Scribbles: thin lines of random shape, the same from the same seed."""

import pytest
import torch
from torch import Tensor

from raysys.distill.scribbles import _curves, scribbles


def draw(n: int = 200, shape: tuple[int, int, int] = (1, 28, 28), seed: int = 0) -> Tensor:
    return scribbles(n, shape, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 32, 20)])
def test_scribbles_are_images_of_the_shape_that_was_asked(shape: tuple[int, int, int]) -> None:
    for n in (1, 300):  # 300 are drawn in two blocks
        images = draw(n, shape)
        assert images.shape == (n, *shape)
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1


def test_the_same_seed_draws_the_same() -> None:
    assert torch.equal(draw(), draw())
    assert not torch.equal(draw(), draw(seed=1))


def test_grey_scribbles_are_a_little_light_ink_on_black() -> None:
    images = draw()
    assert (images.amax(dim=(1, 2, 3)) > 0.7).all(), "each image has a stroke"
    shares = (images > 0.5).float().mean(dim=(1, 2, 3))
    assert (shares < 0.6).all()
    assert 0.05 < shares.mean() < 0.3
    border = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], dim=-1)
    assert border.mean() < 0.01, "they stay inside the picture"


def test_pen_and_ground_have_colours() -> None:
    images = draw(shape=(3, 28, 28))
    assert (images.flatten(2).std(dim=2) > 0).all()
    ground = images[:, :, 0, 0]
    assert ground.std(dim=0).min() > 0.2


def test_a_curve_passes_through_its_points_and_a_straight_walk_stays_straight() -> None:
    rng = torch.Generator().manual_seed(0)
    points = torch.randn(5, 6, 2, generator=rng)
    curve = _curves(points)
    for k in range(5):
        assert torch.allclose(curve[:, k * 12], points[:, k], atol=1e-5)
        assert torch.allclose(curve[:, k * 12 + 11], points[:, k + 1], atol=1e-5)
    line = torch.linspace(0, 1, 6).view(1, 6, 1) * torch.tensor([3.0, 4.0])
    assert torch.allclose(_curves(line)[0] @ torch.tensor([4.0, -3.0]), torch.zeros(60), atol=1e-5)
