"""The matrix of what can die in the middle of what: each time the run ends as if nothing had happened."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crash_runs import end
from faults.sitecustomize import TITLES, VARIABLE, command_line, members
from ray_clusters import RayCluster
from safetensors.numpy import load_file
from shell_runs import DIGITS, PATIENCE_S, Shell, same, trials

from raysys.cli.app import main
from raysys.store.reader import read_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FAULTS = Path(__file__).parents[1] / "faults"
BATCH = 50
"""Images of a request; there is one at a time."""
SPACE: dict[str, Any] = {
    "name": "matrix",
    **DIGITS,
    "method": "ideal",
    "options": {
        "batch_size": BATCH,
        "epochs": 4,
        "warmup_share": 0.5,
        "warmup_rounds": 2,
        "g_steps": 3,
        "g_width": 8,
        "latent_dim": 16,
        "passes": 2,
        "final_passes": 20,
        "train_batch": 32,
        "optimizer": "adamw",
    },
    "held_out": 200,
    "parameters": {
        "query_budget": {"type": "int", "low": 100, "high": 300},
        "lr": {"type": "float", "low": 1.0e-3, "high": 0.01, "log": True},
    },
    "trials": 3,
}
"""Of each trial, half of the queries are noise, half come from a generator."""
BEGIN = ["tune", "--space", "matrix.yaml", "--concurrent", "1", "--progress", "none", "--name"]
RESUME = ["tune", "--concurrent", "1", "--progress", "none", "--resume"]


@dataclass(frozen=True)
class Cell:
    """`victim` dies while `doing`: at the `call`-th time that a process comes to `moment`."""

    victim: str
    doing: str
    moment: str
    call: int

    @property
    def name(self) -> str:
        return f"{self.victim}-{self.doing}"


MOMENTS = {
    "generating": ("between generator steps", 10),
    "asking": ("charged, not answered", 9),
    "checkpointing": ("checkpoint not renamed", 14),
    "writing": ("trials part not renamed", 6),
}
"""Each in the second trial of three: its student is saved when the table is written."""
OTHERS = {
    ("teacher", "asking"): ("after the forward", 9),
    ("ledger", "asking"): ("half an answer written", 9),
    ("head", "writing"): ("run.json not renamed", 5),
}
CELLS = [
    Cell(victim, doing, *OTHERS.get((victim, doing), moment))
    for victim in TITLES
    for doing, moment in MOMENTS.items()
]
IN_TEST = {
    *("worker-generating", "worker-asking", "worker-checkpointing"),
    *("teacher-generating", "teacher-asking", "teacher-writing"),
    *("ledger-asking", "ledger-checkpointing", "ledger-writing"),
    *("driver-writing", "node-generating", "head-asking"),
}
"""The cells that `make test` runs, few that start Ray twice; `make test-cluster` runs the others."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to; the others lie beside it."""
    shell = Shell(tmp_path_factory.mktemp("matrix"))
    (shell.folder / "matrix.yaml").write_text(json.dumps(SPACE))
    shell.run(*BEGIN, "calm")
    return shell.run_path("calm")


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id=cell.name, marks=() if cell.name in IN_TEST else pytest.mark.cluster)
        for cell in CELLS
    ],
)
def test_the_run_ends_as_if_nothing_had_died(
    cell: Cell, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, marker = undisturbed.with_name(cell.name), tmp_path / "struck.json"
    fault = {"moment": cell.moment, "victim": cell.victim, "call": cell.call}
    with faulty({**fault, "run": str(run), "marker": str(marker)}) as environment:
        shell, begin, resume = Shell(run.parent.parent, environment), [*BEGIN, cell.name], [*RESUME, str(run)]
        if cell.victim == "driver":
            shell.run(*begin, code=-signal.SIGKILL)
            shell.run(*resume)
        elif cell.victim == "node":
            with RayCluster(2, environment) as cluster:
                shell.run(*begin, "--address", cluster.address)
        elif cell.victim == "head":
            with RayCluster(1, environment) as cluster:
                shell.run(*begin, "--address", cluster.address, code=-signal.SIGKILL)
            with RayCluster(1, environment) as cluster:
                shell.run(*resume, "--address", cluster.address)
        else:
            shell.run(*begin)
    died = json.loads(marker.read_text())["died"]
    assert any(TITLES[cell.victim] in command for command in died.values())

    assert [same(trial) for trial in trials(run)] == [same(trial) for trial in trials(undisturbed)]
    assert curves(run) == curves(undisturbed)
    quiet, audit = (told(capsys, "audit", str(one)) for one in (undisturbed, run))
    assert audit["charged"] == quiet["charged"]
    assert quiet["executed"] <= audit["executed"] <= quiet["executed"] + BATCH
    front = told(capsys, "front", str(run))["points"]
    assert without_time(front) == without_time(told(capsys, "front", str(undisturbed))["points"])
    for point in front:
        again, calm = (
            load_file(one / "students" / point["uid"] / "weights.safetensors") for one in (run, undisturbed)
        )
        assert again.keys() == calm.keys()
        assert all(np.array_equal(again[name], calm[name]) for name in calm)


@contextmanager
def faulty(fault: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The environment of processes in which a fault will strike; none of them is left after this."""
    text = json.dumps(fault)
    path = os.pathsep.join(filter(None, [str(FAULTS), os.environ.get("PYTHONPATH")]))
    try:
        yield {"PYTHONPATH": path, VARIABLE: text, "RAY_AUTH_MODE": "disabled"}
        deadline = time.monotonic() + PATIENCE_S
        while left := [command_line(one) for one in members(text) if "Agent" not in command_line(one)]:
            assert time.monotonic() < deadline, f"still there: {left}"
            time.sleep(0.1)
    finally:
        end(members(text))  # Ray's agents stay for a while


def curves(run: Path) -> list[dict[str, Any]]:
    """What the trials reported; each report once."""
    columns = ["uid", "step", "queries", "val_accuracy", "agreement", "pool_size"]
    rows = read_run(run).reports.select(columns).to_pylist()
    return sorted(rows, key=lambda row: (row["uid"], row["step"]))


def without_time(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in point.items() if name != "seconds"} for point in points]


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The JSON that a command prints; it must end well."""
    code = main([*arguments, "--json"])
    streams = capsys.readouterr()
    assert code == 0, streams.err + streams.out
    found: dict[str, Any] = json.loads(streams.out)
    return found
