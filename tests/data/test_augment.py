import pytest
import torch
import torch.nn.functional as F

from raysys.data.augment import augment, draw_views, flip_and_crop, warp


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (3, 3, 32, 32)])
def test_shape_and_range_are_kept_and_images_change(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=rng())
    changed = augment(images, 1.0, True, rng())
    assert changed.shape == images.shape
    assert changed.min() >= 0 and changed.max() <= 1
    assert not torch.equal(changed, images)


def test_strength_zero_returns_the_input_itself() -> None:
    images = torch.rand(2, 1, 8, 8)
    assert augment(images, 0.0, True, rng()) is images


def test_the_generator_alone_decides() -> None:
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(augment(images, 0.5, False, rng(1)), augment(images, 0.5, False, rng(1)))
    assert not torch.equal(augment(images, 0.5, False, rng(1)), augment(images, 0.5, False, rng(2)))


def test_only_flip_mirrors() -> None:
    ramp = torch.linspace(0, 1, 16).expand(64, 1, 16, 16)
    right_minus_left = ramp_slopes(augment(ramp, 0.1, False, rng()))
    assert (right_minus_left > 0).all()
    mirrored = ramp_slopes(augment(ramp, 0.1, True, rng())) < 0
    assert 16 < mirrored.sum() < 48


def ramp_slopes(images: torch.Tensor) -> torch.Tensor:
    return images[:, 0, 4:12, 11].mean(1) - images[:, 0, 4:12, 4].mean(1)


def test_gradients_reach_the_images() -> None:
    images = torch.rand(2, 1, 8, 8, requires_grad=True)
    augment(images, 0.5, False, rng()).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


def test_images_are_mirrored_half_of_the_time() -> None:
    image = torch.rand(1, 2, 4, 6)
    views = flip_and_crop(image.repeat(400, 1, 1, 1), 0, rng())
    mirrored = torch.tensor([torch.equal(view, image[0].flip(2)) for view in views])
    same = torch.tensor([torch.equal(view, image[0]) for view in views])
    assert (mirrored ^ same).all()
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.08)


def test_a_crop_is_a_window_of_the_padded_image() -> None:
    images = torch.rand(300, 2, 4, 6) + 0.5  # black is only what was padded
    found = set()
    for image, view in zip(images, flip_and_crop(images, 1, rng()), strict=True):
        for flipped in (False, True):
            padded = torch.zeros(2, 6, 8)
            padded[:, 1:5, 1:7] = image.flip(2) if flipped else image
            for down in range(3):
                for right in range(3):
                    if torch.equal(view, padded[:, down : down + 4, right : right + 6]):
                        found.add((flipped, down, right))
    assert len(found) == 18, "each window, mirrored or not"


def test_gradients_pass_through_a_crop() -> None:
    images = torch.rand(3, 1, 4, 4, requires_grad=True)
    flip_and_crop(images, 2, rng()).sum().backward()
    assert images.grad is not None
    assert set(images.grad.flatten().tolist()) <= {0.0, 1.0}
    assert images.grad.any()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14)])
def test_views_are_those_of_torchs_affine_grid(shape: tuple[int, int, int]) -> None:
    images = torch.rand(5, *shape, generator=rng())
    views = draw_views(5, 1.0, True, rng(1))
    grid = F.affine_grid(views, list(images.shape), align_corners=False)
    expected = F.grid_sample(images, grid, align_corners=False)
    torch.testing.assert_close(warp(images, views), expected, rtol=0, atol=1e-5)
