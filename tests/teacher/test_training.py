from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from raysys.data.datasets import Dataset, load_dataset
from raysys.errors import UsageError
from raysys.models.classifiers import build_classifier
from raysys.models.weights import save_safetensors
from raysys.space.load import load_space
from raysys.space.schema import Recipe, TeacherSpec
from raysys.teacher.training import find, find_or_train, measure, one_cycle

RECIPE = Recipe(epochs=2, batch_size=100, optimizer="sgd", lr=0.1, augment=0.2)
SPEC = TeacherSpec(architecture="cnn3", recipe=RECIPE)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset("digits", tmp_path_factory.mktemp("data"))


def silent(epoch: int, epochs: int, loss: float) -> None:
    """Progress that nobody looks at."""


def never(epoch: int, epochs: int, loss: float) -> None:
    raise AssertionError("trained, but the cache has this teacher")


def test_the_shipped_digits_recipe_reaches_its_target(digits: Dataset, tmp_path: Path) -> None:
    teacher = find_or_train(load_space("digits").teacher, digits, tmp_path, silent)
    val, test = teacher.card.val_accuracy, teacher.card.test_accuracy
    assert (val + test) / 2 >= 0.985
    assert (val, test) == measure(teacher.module, digits)


def test_training_is_reproducible_and_cached(digits: Dataset, tmp_path: Path) -> None:
    assert find(SPEC, digits, tmp_path / "one") is None
    losses: list[tuple[int, int, float]] = []
    one = find_or_train(SPEC, digits, tmp_path / "one", lambda *report: losses.append(report))
    other = find_or_train(SPEC, digits, tmp_path / "other", silent)
    assert one.card == other.card
    assert [report[:2] for report in losses] == [(1, 2), (2, 2)]
    again = find_or_train(SPEC, digits, tmp_path / "one", never)
    assert again.card == one.card
    assert not again.module.training


def test_another_recipe_or_other_data_is_another_teacher(digits: Dataset, tmp_path: Path) -> None:
    find_or_train(SPEC, digits, tmp_path, silent)
    assert (
        find(SPEC.model_copy(update={"recipe": RECIPE.model_copy(update={"seed": 1})}), digits, tmp_path)
        is None
    )
    assert find(SPEC, replace(digits, train_images=255 - digits.train_images), tmp_path) is None


@pytest.mark.parametrize("damaged", ["card.json", "weights.safetensors"])
def test_a_damaged_cache_is_trained_again(digits: Dataset, tmp_path: Path, damaged: str) -> None:
    first = find_or_train(SPEC, digits, tmp_path, silent)
    file = next(tmp_path.glob(f"teachers/*/{damaged}"))
    content = bytearray(file.read_bytes())
    content[-5] ^= 0xFF
    file.write_bytes(content)
    assert find(SPEC, digits, tmp_path) is None
    assert find_or_train(SPEC, digits, tmp_path, silent).card == first.card
    assert find(SPEC, digits, tmp_path) is not None


def test_own_weights_are_used_as_safetensors_or_checkpoint(digits: Dataset, tmp_path: Path) -> None:
    model = build_classifier("lenet5", digits.task, seed=3).eval()
    save_safetensors(model, tmp_path / "own.safetensors")
    torch.save(model.net.state_dict(), tmp_path / "bare.pt")
    images = torch.rand(2, 1, 8, 8)
    for name in ("own.safetensors", "bare.pt"):
        spec = TeacherSpec(architecture="lenet5", weights=str(tmp_path / name), mean=[0.5], std=[0.5])
        teacher = find_or_train(spec, digits, tmp_path, never)
        assert torch.equal(teacher.module(images), model(images))
        assert teacher.card.architecture == "lenet5"


def test_own_weights_that_cannot_be_used_are_refused(digits: Dataset, tmp_path: Path) -> None:
    missing = TeacherSpec(architecture="lenet5", weights=str(tmp_path / "none.pt"))
    with pytest.raises(UsageError, match=r"no teacher at .*none\.pt"):
        find(missing, digits, tmp_path)
    save_safetensors(build_classifier("lenet5", digits.task, seed=3), tmp_path / "own.safetensors")
    other = TeacherSpec(architecture="cnn3", weights=str(tmp_path / "own.safetensors"))
    with pytest.raises(UsageError, match="does not fit the architecture"):
        find(other, digits, tmp_path)


def test_an_unknown_architecture_is_refused(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean: lenet5"):
        find(TeacherSpec(architecture="lenet", recipe=RECIPE), digits, tmp_path)


class Flat(nn.Module):
    """A linear classifier whose export is quick."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1))


def export(path: Path, dynamic: bool) -> nn.Module:
    model = Flat()
    shapes = {"images": {0: torch.export.Dim("batch")}} if dynamic else None
    torch.export.save(torch.export.export(model, (torch.rand(4, 1, 8, 8),), dynamic_shapes=shapes), path)
    return model


def test_an_exported_program_is_used_when_it_is_trusted(digits: Dataset, tmp_path: Path) -> None:
    model = export(tmp_path / "model.pt2", dynamic=True)
    teacher = find_or_train(
        TeacherSpec(program=str(tmp_path / "model.pt2"), trusted=True), digits, tmp_path, never
    )
    images = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(teacher.module.eval()(images), model(images))
    assert teacher.card.architecture == "program"


def test_programs_that_cannot_be_used_are_refused(digits: Dataset, tmp_path: Path) -> None:
    fixed = tmp_path / "fixed.pt2"
    export(fixed, dynamic=False)
    with pytest.raises(UsageError, match=r"refused to load the program(?s:.*)trusted: true"):
        find(TeacherSpec(program=str(fixed)), digits, tmp_path)
    with pytest.raises(UsageError, match=r"does not take 2 images(?s:.*)dynamic batch"):
        find(TeacherSpec(program=str(fixed), trusted=True), digits, tmp_path)
    (tmp_path / "broken.pt2").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="cannot load the program"):
        find(TeacherSpec(program=str(tmp_path / "broken.pt2"), trusted=True), digits, tmp_path)


@pytest.mark.parametrize("steps", [1, 5, 7, 100])
def test_the_learning_rate_goes_through_one_cycle(steps: int) -> None:
    """As in torch, whose class imports its compiler."""
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.3)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.3, total_steps=steps, pct_start=0.15, cycle_momentum=False
    )
    for step in range(steps):
        assert 0.3 * one_cycle(step, steps) == pytest.approx(reference.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        reference.step()
