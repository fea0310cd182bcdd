import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from raysys.errors import StorageError, UsageError
from raysys.models.classifiers import build_classifier
from raysys.models.weights import load_checkpoint, load_safetensors, save_safetensors, state_sha256
from raysys.records import Task

TASK = Task("digits", (1, 8, 8), 10, False)
HASH_PROGRAM = """
from raysys.models.classifiers import build_classifier
from raysys.models.weights import state_sha256
from raysys.records import Task
print(state_sha256(build_classifier("cnn3", Task("digits", (1, 8, 8), 10, False), seed=0)))
"""


class Harmful:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_the_hash_is_the_same_in_another_process() -> None:
    here = state_sha256(build_classifier("cnn3", TASK, seed=0))
    there = subprocess.run(
        [sys.executable, "-c", HASH_PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"},
    )
    assert there.stdout.strip() == here


def test_saved_weights_come_back(tmp_path: Path) -> None:
    saved, other = (build_classifier("cnn3", TASK, seed=seed) for seed in (0, 1))
    save_safetensors(saved, tmp_path / "new" / "weights.safetensors", {"note": "x"})
    load_safetensors(other, tmp_path / "new" / "weights.safetensors")
    assert state_sha256(saved) == state_sha256(other)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["weights.safetensors"]


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_safetensors(build_classifier("lenet5", TASK, seed=0), path)
    with pytest.raises(UsageError, match=r"does not fit the architecture(?s:.*) is missing"):
        load_safetensors(build_classifier("cnn3", TASK, seed=0), path)
    other_classes = build_classifier("lenet5", Task("x", (1, 8, 8), 5, False), seed=0)
    with pytest.raises(UsageError, match=r"net\.11\.weight is \(10, 84\), expected \(5, 84\)"):
        load_safetensors(other_classes, path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="cannot read weights"):
        load_safetensors(build_classifier("cnn3", TASK, seed=0), path)


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        save_safetensors(nn.Linear(1, 1), tmp_path / "file" / "weights.safetensors")


def test_checkpoints_of_tensors_are_read(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    wrapped = {"state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}
    torch.save(wrapped, tmp_path / "model.pt")
    state = load_checkpoint(tmp_path / "model.pt")
    assert list(state) == ["weight", "bias"]
    assert torch.equal(state["weight"], model.weight)


def test_a_pickle_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was here"
    for zipped in (True, False):
        torch.save(
            {"state_dict": Harmful(mark)}, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped
        )
        with pytest.raises(UsageError, match=r"refused to load(?s:.*)safetensors"):
            load_checkpoint(tmp_path / "model.pt")
    assert not mark.exists()


def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "model.pt")
    with pytest.raises(UsageError, match="holds no state dict"):
        load_checkpoint(tmp_path / "model.pt")
