"""What methods declare, and how a collapse is told, in runs as `raysys trial` makes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trial import STUDENT, TASK

from raysys.cli.app import main
from raysys.cluster.in_process import Watcher, run_in_process
from raysys.cluster.machine import Machine
from raysys.cluster.plan import check_space
from raysys.cluster.problem import complete_config, read_dataset, real_images
from raysys.data.datasets import SYNTHETIC, held_out_only, load_dataset
from raysys.distill.options import METHODS
from raysys.errors import DataError, SpaceError
from raysys.models.classifiers import build_classifier
from raysys.models.weights import save_safetensors
from raysys.records import TrialRecord, TrialStatus
from raysys.space.schema import Space
from raysys.store.layout import RunLayout


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Peek", "Soft"):
        monkeypatch.setitem(METHODS, name.lower(), f"own_methods:{name}Options")


def space(folder: Path, **changes: Any) -> Space:
    """A search on digits with an untrained teacher."""
    known: dict[str, Any] = {
        "name": "own",
        "dataset": "digits",
        "teacher": {"architecture": "mlp", "weights": str(folder / "teacher.safetensors")},
        "student": "mlp",
        "method": "noise",
        "options": STUDENT,
        "parameters": {},
        "trials": 1,
    }
    return Space.model_validate({**known, **changes})


def run(folder: Path, chosen: Space, bias: float = 0.0) -> TrialRecord:
    net = build_classifier("mlp", TASK, seed=3)
    with torch.no_grad():
        list(net.parameters())[-1][7] += bias
    save_safetensors(net, folder / "teacher.safetensors", {})
    machine = Machine(data_root=folder, cache=folder / "cache")
    wanted = complete_config(chosen, {}, "u00000", 0)
    watcher = Watcher(lambda text: None, lambda report: None)
    return run_in_process(RunLayout.open(folder / "run"), chosen, wanted, machine, watcher)


def test_a_collapse_is_told_in_the_trials_row_and_by_show(tmp_path: Path, capsys: Any) -> None:
    options = {**STUDENT, "query_budget": 3000, "rounds": 10}
    record = run(tmp_path, space(tmp_path, options=options), bias=1e6)
    assert (record.status, record.queries) == (TrialStatus.FINISHED, 600)
    note = (
        "collapsed: the teacher answered class 7 to 100.0% of the last 600 images;"
        " 2,400 of 3,000 queries were left unspent"
    )
    assert record.error == note
    assert main(["show", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert f"u00000 {note}" in out
    assert "failed" not in out
    assert main(["show", str(tmp_path / "run"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["notes"], shown["failures"]) == ({"u00000": note}, {})
    assert main(["audit", str(tmp_path / "run")]) == 0


EARLY: dict[str, dict[str, Any]] = {
    "ideal": {"query_budget": 2000, "batch_size": 100, "epochs": 20, "g_steps": 1, "g_width": 8},
    "official": {"query_budget": 2000, "batch_size": 100, "epochs": 20, "g_steps": 1, "labels": "official"},
    "uniform": {"query_budget": 2000, "rounds": 10, "kind": "uniform"},
    "dfme": {"query_budget": 2000, "batch": 64, "replay": 0},
    "db3kd": {"query_budget": 2000},
    "zsdb3kd": {"query_budget": 5000},
    "surrogate": {"query_budget": 1000, "rounds": 10},
}
METHOD = {"official": "ideal", "uniform": "noise"}


@pytest.mark.parametrize("kind", EARLY)
def test_a_collapse_ends_any_method_early_and_is_told(tmp_path: Path, kind: str) -> None:
    response = "soft" if kind == "dfme" else "hard"
    options = {**STUDENT, **EARLY[kind]}
    chosen = space(tmp_path, method=METHOD.get(kind, kind), response=response, options=options)
    record = run(tmp_path, chosen, bias=1e6)
    assert record.status is TrialStatus.FINISHED
    assert "collapsed: the teacher answered class 7 to 100.0% of the last" in record.error
    assert 500 <= record.queries <= 800
    assert main(["audit", str(tmp_path / "run")]) == 0


def test_a_run_gives_its_method_training_images_if_it_declares_so(tmp_path: Path, capsys: Any) -> None:
    chosen = space(tmp_path, method="peek")
    digits = read_dataset(chosen, check_space(chosen), tmp_path)
    images = real_images(chosen, digits)
    assert images is not None
    np.testing.assert_array_equal(images, digits.train_images)
    assert real_images(space(tmp_path), digits) is None
    assert run(tmp_path, chosen).queries == 50
    assert main(["audit", str(tmp_path / "run")]) == 0


def test_without_training_images_such_a_method_is_refused(tmp_path: Path) -> None:
    digits = load_dataset("digits", tmp_path)
    nothing = held_out_only(digits.task, digits.test_images)
    with pytest.raises(DataError, match="method peek needs real images, data set digits has no training"):
        real_images(space(tmp_path, method="peek"), nothing)
    made = space(
        tmp_path,
        method="peek",
        dataset=SYNTHETIC,
        task={"image_shape": [1, 8, 8], "num_classes": 10},
        objectives=[
            {"name": "agreement", "direction": "maximize"},
            {"name": "queries", "direction": "minimize"},
        ],
    )
    with pytest.raises(SpaceError, match="method peek needs real images, data set synthetic has none"):
        check_space(made)


def test_a_soft_method_needs_a_soft_teacher(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="space own: method soft cannot learn from a teacher that is hard"):
        run(tmp_path, space(tmp_path, method="soft"))
    assert not (tmp_path / "run").exists()
    assert run(tmp_path, space(tmp_path, method="soft", response="soft")).queries == 50


def test_a_student_that_diverges_is_told_and_is_on_no_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(METHODS, "moody", "made_up:MoodyOptions")
    monkeypatch.chdir(tmp_path)
    record = run(tmp_path, space(tmp_path, method="moody", options={"query_budget": 7, "mood": "diverges"}))
    assert (record.status, record.queries) == (TrialStatus.FINISHED, 7)
    assert record.error == "diverged: the student's outputs are NaN"
    assert main(["front", "run", "--json"]) == 0
    front = json.loads(capsys.readouterr().out)
    assert (front["points"], front["excluded"]) == ([], 1)
    assert main(["trial", "--from", "run:u00000", "--name", "again", "--json"]) == 0
    streams = capsys.readouterr()
    again = json.loads(streams.out)
    assert (again["val_accuracy"], again["agreement"], again["queries"]) == (None, None, 7)
    assert "val -  agreement -" in streams.err
