"""Runs of someone who has a black box and no labels, as `raysys trial` runs them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_trial import OPTIONS, TASK, linear, pictures

from raysys.cli.app import main
from raysys.cluster.in_process import Watcher, run_in_process
from raysys.cluster.machine import Machine
from raysys.cluster.plan import AGREEMENT_LINE, check_space
from raysys.cluster.problem import complete_config, held_out_accuracy, held_out_queries, read_dataset
from raysys.data.datasets import SYNTHETIC, held_out_only, load_dataset
from raysys.distill.noise import structured_noise
from raysys.errors import DataError, SpaceError
from raysys.models.classifiers import build_classifier
from raysys.models.weights import save_safetensors
from raysys.records import EVALUATION, EvalSet, Task, TrialRecord
from raysys.seeding import part_seed
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.reader import read_run
from raysys.teacher.journal import read_accounts

AGREEMENT = [
    {"name": "agreement", "direction": "maximize"},
    {"name": "queries", "direction": "minimize"},
]
OWN_TASK = {"image_shape": [1, 8, 8], "num_classes": 10, "flip": False}
RECIPE = {"architecture": "mlp", "recipe": {"epochs": 1}}


def space(**changes: Any) -> Space:
    known: dict[str, Any] = {
        "name": "pets",
        "dataset": "pets",
        "task": OWN_TASK,
        "teacher": {"program": "teacher.pt2", "trusted": True},
        "student": "mlp",
        "objectives": AGREEMENT,
        "options": {**OPTIONS, "query_budget": 40},
        "parameters": {},
        "trials": 1,
    }
    return Space.model_validate({**known, **changes})


def write_images(root: Path, count: int, name: str = "pets") -> None:
    (root / name).mkdir()
    for index, image in enumerate(pictures(count, seed=5)):
        Image.fromarray(image[0]).save(root / name / f"{index:03d}.png")


def write_program(path: Path) -> Path:
    batch = torch.export.Dim("batch")
    exported = torch.export.export(linear(), (torch.rand(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, path)
    return path


def run(tmp_path: Path, chosen: Space) -> TrialRecord:
    heard: list[str] = []
    machine = Machine(data_root=tmp_path, cache=tmp_path / "cache")
    watcher = Watcher(heard.append, lambda report: None)
    wanted = complete_config(chosen, {}, "u00000", 0)
    record = run_in_process(RunLayout.open(tmp_path / "run"), chosen, wanted, machine, watcher)
    assert "accuracy" not in " ".join(heard)
    return record


def looks_right(tmp_path: Path, record: TrialRecord, evaluation: int, capsys: Any) -> None:
    """What the run's files and the commands say, where there is no accuracy but agreement."""
    assert (record.val_accuracy, record.test_accuracy) == (None, None)
    assert record.agreement is not None and 0 <= record.agreement <= 1
    assert record.test_agreement is not None and 0 <= record.test_agreement <= 1
    snapshot = read_run(tmp_path / "run")
    assert snapshot.records() == [record]
    assert snapshot.reports["val_accuracy"].null_count == snapshot.reports.num_rows > 0
    assert read_accounts(tmp_path / "run" / "ledger")[EVALUATION].charged == evaluation
    assert main(["front", str(tmp_path / "run"), "--json"]) == 0
    front = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [goal["name"] for goal in front["objectives"]] == ["agreement", "queries"]
    assert front["reference"] == {"agreement": 0.1, "queries": 40}
    (point,) = front["points"]
    assert (point["val_accuracy"], point["test_accuracy"]) == (None, None)
    assert (point["agreement"], point["test_agreement"]) == (record.agreement, record.test_agreement)
    assert main(["front", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "val agreement  test agreement" in out
    assert f"{record.agreement:.2%}" in out
    assert f"{record.test_agreement:.2%}" in out
    assert main(["audit", str(tmp_path / "run")]) == 0


def test_images_that_nobody_labelled_and_weights(tmp_path: Path, capsys: Any) -> None:
    write_images(tmp_path, 31)
    net = build_classifier("mlp", TASK, [0.5], [0.25], seed=3)
    save_safetensors(net, tmp_path / "teacher.safetensors", {})
    teacher = {"architecture": "mlp", "weights": str(tmp_path / "teacher.safetensors")}
    looks_right(tmp_path, run(tmp_path, space(teacher=teacher)), 31, capsys)


def test_no_images_at_all_and_a_program(tmp_path: Path, capsys: Any) -> None:
    program = str(write_program(tmp_path / "teacher.pt2"))
    chosen = space(dataset=SYNTHETIC, held_out=60, teacher={"program": program, "trusted": True})
    looks_right(tmp_path, run(tmp_path, chosen), 60, capsys)


def test_a_bare_networks_weights_need_a_normalisation(tmp_path: Path) -> None:
    write_images(tmp_path, 8)
    bare = build_classifier("mlp", TASK, seed=3).net
    save_safetensors(bare, tmp_path / "bare.safetensors", {})
    teacher = {"architecture": "mlp", "weights": str(tmp_path / "bare.safetensors")}
    with pytest.raises(Exception, match=r"no training images to take mean and std from(?s:.*)mean: \["):
        run(tmp_path, space(teacher=teacher))
    assert not (tmp_path / "run").exists()
    assert run(tmp_path, space(teacher={**teacher, "mean": [0.5], "std": [0.25]})).agreement is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": RECIPE}, "teacher: recipe: data set .* has no labels(?s:.*)weights, program or http"),
        (
            {"objectives": Space.model_fields["objectives"].default},
            "objectives: .*(?s:.*)" + "write objectives",
        ),
    ],
)
def test_what_needs_labels_is_refused_before_any_work(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_images(tmp_path, 8)
    with pytest.raises(SpaceError, match=message):
        run(tmp_path, space(**changes))
    with pytest.raises(SpaceError, match=message):
        check_space(space(dataset=SYNTHETIC, **changes))
    assert not (tmp_path / "run").exists()


def test_the_line_to_write_is_one_that_a_space_takes() -> None:
    import yaml

    check_space(space(**yaml.safe_load(AGREEMENT_LINE)))


def test_made_images_need_to_know_what_the_teacher_takes() -> None:
    with pytest.raises(SpaceError, match=r"task: made images(?s:.*)write task: \{image_shape"):
        check_space(space(dataset=SYNTHETIC, task=None))


def test_made_images_are_the_same_each_time_and_no_trials() -> None:
    chosen = space(dataset=SYNTHETIC, held_out=40)
    one, two = (read_dataset(chosen, TASK, Path("/nowhere")) for _ in range(2))
    assert one.sha256 == two.sha256
    assert (one.test_images.shape, one.test_images.dtype) == ((40, 1, 8, 8), np.uint8)
    assert len(np.unique(one.test_images.reshape(40, -1), axis=0)) == 40
    assert len(read_dataset(space(dataset=SYNTHETIC), TASK, Path("/nowhere")).test_images) == 1000
    for part in ("ideal", "student/0"):
        rng = torch.Generator().manual_seed(part_seed(0, part))
        trials = (structured_noise(40, TASK.image_shape, False, rng) * 255).round().byte().numpy()
        assert not (trials.reshape(40, -1)[:, None] == one.test_images.reshape(40, -1)).all(2).any()


def test_fewer_held_out_images_are_the_same_ones_each_time(tmp_path: Path) -> None:
    few = space(dataset="digits", task=None, teacher=RECIPE, held_out=100)
    digits = load_dataset("digits", tmp_path)
    assert held_out_queries(few, digits) == held_out_queries(few, digits) == 100
    assert held_out_queries(few.model_copy(update={"held_out": 5000}), digits) == 797
    assert held_out_queries(few.model_copy(update={"held_out": None}), digits) == 797


def test_too_few_images_for_val_and_test_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, 1)
    with pytest.raises(DataError, match="too few held-out images: 1"):
        read_dataset(space(), Task("pets", (1, 8, 8), 10, False), tmp_path)


def test_the_teachers_accuracy_follows_from_its_answers() -> None:
    labels = np.array([0, 1, 2, 3])
    val = EvalSet(pictures(4), labels, np.array([0, 1, 2, 0]))
    assert held_out_accuracy(val, EvalSet(pictures(4), labels, labels)) == (0.75, 1.0)
    assert held_out_accuracy(val, EvalSet(pictures(4), None, labels)) == (0.75, None)


def test_a_dry_run_tells_how_many_held_out_images_are_asked(capsys: Any) -> None:
    assert main(["tune", "--space", "digits", "--dry-run", "-s", "held_out=200"]) == 0
    assert "and at most 200 held-out images once" in capsys.readouterr().out
    assert main(["tune", "--space", "digits", "--dry-run"]) == 0
    assert "and the held-out images once" in capsys.readouterr().out


def test_unlabelled_sets_hold_test_images_only() -> None:
    found = held_out_only(TASK, pictures(5))
    assert (len(found.train_images), found.train_labels, found.test_labels) == (0, None, None)
    assert found.strata.tolist() == [0] * 5
