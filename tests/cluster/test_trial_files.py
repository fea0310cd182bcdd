import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from edge_runs import config
from PIL import Image
from tiny_trial import CutOff, Door, held_out
from tiny_trial import config as trial_config

from raysys.cluster.one_trial import run_one
from raysys.cluster.trial_files import SIDE, TrialFiles, contact_sheet
from raysys.errors import StorageError
from raysys.models.classifiers import build_classifier
from raysys.models.weights import load_safetensors, state_sha256
from raysys.oracle import Oracle
from raysys.records import Task, TrialConfig
from raysys.store.layout import RunLayout
from raysys.teacher.service import LocalOracle

TASK = Task("digits", (1, 8, 8), 10, False)


def files(root: Path, uid: str = "u00000") -> TrialFiles:
    return TrialFiles(RunLayout(root), uid)


def test_a_sheet_has_8_pictures_a_row_and_black_where_none_is() -> None:
    images = np.arange(1, 11, dtype=np.uint8).reshape(10, 1, 1, 1).repeat(2, axis=2).repeat(3, axis=3)
    sheet = contact_sheet(images)
    first = np.repeat(np.arange(1, 9), 3)
    second = np.repeat([9, 10, 0, 0, 0, 0, 0, 0], 3)
    assert sheet.dtype == np.uint8
    assert sheet.tolist() == [first.tolist()] * 2 + [second.tolist()] * 2


def test_colours_and_pixels_stay_where_they_are() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    sheet = contact_sheet(image)
    assert sheet.shape == (2, 16, 3)
    assert sheet[:, :2].tolist() == [[[0, 4, 8], [1, 5, 9]], [[2, 6, 10], [3, 7, 11]]]
    assert not sheet[:, 2:].any()


def test_a_sheet_shows_64_pictures_at_most() -> None:
    assert contact_sheet(np.zeros((200, 1, 8, 8), np.uint8)).shape == (64, 64)


def test_samples_are_pictures_large_enough_to_look_at(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 1, 8, 8)).astype(np.uint8)
    files(tmp_path).show(3, images)
    with Image.open(tmp_path / "samples" / "u00000" / "00003.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape[1] >= SIDE
    scale = pixels.shape[1] // 64
    np.testing.assert_array_equal(pixels[::scale, ::scale], contact_sheet(images))


def test_the_newest_state_comes_back(tmp_path: Path) -> None:
    assert files(tmp_path).load() is None
    for sequence, state in ((1, b"first"), (3, b"second"), (3, b"third")):
        files(tmp_path).save(state, sequence)
    assert files(tmp_path).load() == b"third"
    assert files(tmp_path, "u00001").load() is None


def test_a_state_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    files(tmp_path).save(b"first", 1)
    (tmp_path / "checkpoints" / "u00000" / f".state-2.pt.{os.getpid()}.tmp").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        files(tmp_path).save(b"second", 2)
    assert files(tmp_path).load() == b"first"


def test_where_the_newest_state_is_damaged_the_one_before_stands_in(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "u00000"
    for sequence in (2, 4, 10):
        files(tmp_path).save(f"before request {sequence}".encode(), sequence)
    assert {path.name for path in folder.iterdir()} == {"state-4.pt", "state-10.pt"}
    whole = (folder / "state-10.pt").read_bytes()
    for data in (b"", whole[:-1], whole[1:], whole[:3] + b"?" + whole[4:]):
        (folder / "state-10.pt").write_bytes(data)
        assert files(tmp_path).newest() == (b"before request 4", ["state-10.pt"])
    (folder / "state-4.pt").write_bytes(whole)  # whole, but not what its name says
    assert files(tmp_path).newest() == (None, ["state-10.pt", "state-4.pt"])


def test_the_state_and_the_request_of_another_trial_are_damaged(tmp_path: Path) -> None:
    files(tmp_path, "u00001").save(b"theirs", 3)
    files(tmp_path, "u00001").keep_request(3, np.ones((2, 1, 8, 8), np.uint8))
    (tmp_path / "checkpoints" / "u00001").rename(tmp_path / "checkpoints" / "u00000")
    assert files(tmp_path).load() is None
    assert files(tmp_path).kept_request(3) is None


def test_a_state_of_schema_1_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "u00000"
    folder.mkdir(parents=True)
    (folder / "state.pt").write_bytes(zlib.crc32(b"old").to_bytes(4) + b"old")
    assert files(tmp_path).load() == b"old"
    files(tmp_path).save(b"new", 7)
    assert files(tmp_path).load() == b"new"
    (folder / "state.pt").write_bytes(b"????old")
    (folder / "state-7.pt").unlink()
    assert files(tmp_path).newest() == (None, ["state.pt"])


def test_a_request_is_kept_as_long_as_the_older_state_may_make_it_again(tmp_path: Path) -> None:
    long, short, other = (np.full((n, 1, 8, 8), n, np.uint8) for n in (3, 2, 1))

    def kept() -> list[int]:
        return [number for number in range(12) if files(tmp_path).kept_request(number) is not None]

    for sequence, images in ((0, other), (1, long), (1, short), (2, other)):
        files(tmp_path).keep_request(sequence, images)
    found = files(tmp_path).kept_request(1)
    assert found is not None and found.dtype == np.uint8
    np.testing.assert_array_equal(found, short)
    assert files(tmp_path, "u00001").kept_request(1) is None
    files(tmp_path).save(b"first", 2)
    assert kept() == [0, 1, 2]  # should the only state be lost, it is made again from its start
    files(tmp_path).save(b"second", 3)
    assert kept() == [2]
    files(tmp_path).keep_request(3, other)
    files(tmp_path).save(b"second, later", 3)
    assert kept() == [2, 3]
    files(tmp_path).save(b"third", 11)
    assert kept() == [3]
    names = {path.name for path in (tmp_path / "checkpoints" / "u00000").iterdir()}
    assert names == {"state-3.pt", "state-11.pt", "request-3.npy"}


def test_a_worker_lost_after_a_charge_is_replaced_without_another(tmp_path: Path) -> None:
    def work(what: TrialConfig, line: CutOff) -> None:
        def open_oracle(uid: str, budget: int) -> Oracle:
            return line(LocalOracle(door.service, uid, budget))

        layout = RunLayout(tmp_path)
        run_one(what, TASK, open_oracle, held_out(), layout, lambda reports: None, lambda: 0.0, "cpu")

    with Door(tmp_path / "ledger") as door:
        with pytest.raises(InterruptedError):
            work(trial_config(), CutOff(at=0, after=True))
        assert door.account().charged == 20
        # Another seed makes other images, as another machine's floating point does.
        work(trial_config(seed=1), CutOff())
        assert door.teacher.forwards == [20, 20, 10]
    kept = {path.name for path in (tmp_path / "checkpoints" / "u00000").iterdir()}
    assert {"pairs", "state-2.pt", "state-3.pt"} <= kept


def test_a_damaged_request_counts_as_none(tmp_path: Path) -> None:
    files(tmp_path).keep_request(0, np.ones((2, 1, 8, 8), np.uint8))
    (path,) = (tmp_path / "checkpoints" / "u00000").iterdir()
    whole = path.read_bytes()
    damaged = [b"", bytes(4), whole[:3], whole[:-1], whole + b"x", bytes(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for data in damaged:
        path.write_bytes(data)
        assert files(tmp_path).kept_request(0) is None
    path.write_bytes(whole)
    assert files(tmp_path).kept_request(0) is not None


def test_a_request_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "u00000" / f".request-0.npy.{os.getpid()}.tmp").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot write .*request-0\.npy"):
        files(tmp_path).keep_request(0, np.ones((2, 1, 8, 8), np.uint8))


def test_a_saved_student_is_the_one_its_hash_names(tmp_path: Path) -> None:
    student, other = (build_classifier("cnn3", TASK, seed=seed) for seed in (0, 1))
    with torch.no_grad():
        student(torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)))  # moves its statistics
    digest = files(tmp_path).save_student(student, config(0))
    load_safetensors(other, tmp_path / "students" / "u00000" / "weights.safetensors")
    assert digest == state_sha256(student) == state_sha256(other)
    saved = json.loads((tmp_path / "students" / "u00000" / "config.json").read_text())
    assert saved["uid"] == "u00000"
    assert saved["options"] == config(0).options
