"""What is left of a `raysys trial` that a signal ends: told, marked as interrupted, nothing half-written."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_trial import STUDENT, TASK

from raysys.cli.app import main
from raysys.cluster.in_process import Watcher, run_in_process
from raysys.cluster.machine import Machine
from raysys.cluster.problem import complete_config
from raysys.models.classifiers import build_classifier
from raysys.models.weights import save_safetensors
from raysys.records import TrialStatus
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.reader import read_run

FOR_LONG = {**STUDENT, "final_passes": 10000, "query_budget": 100, "rounds": 50}

# A shell may have started the tests with SIGINT ignored.
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from raysys.cli.app import main
sys.exit(main())
"""


def own_space(folder: Path) -> dict[str, Any]:
    """A space whose one trial takes long, and its teacher."""
    save_safetensors(build_classifier("mlp", TASK, seed=3), folder / "teacher.safetensors", {})
    return {
        "name": "own",
        "dataset": "digits",
        "teacher": {"architecture": "mlp", "weights": str(folder / "teacher.safetensors")},
        "student": "mlp",
        "method": "noise",
        "options": FOR_LONG,
        "parameters": {},
        "trials": 1,
    }


def test_a_trial_that_ends_before_its_teacher_is_there_can_be_repeated(tmp_path: Path) -> None:
    space, layout = Space.model_validate(own_space(tmp_path)), RunLayout(tmp_path / "run")
    config = complete_config(space, {}, "u00000", 0)

    def interrupted(text: str) -> None:
        if text.startswith("teacher "):
            raise KeyboardInterrupt

    machine = Machine(data_root=tmp_path, cache=tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        run_in_process(layout, space, config, machine, Watcher(interrupted, print))
    (record,) = read_run(layout).records()
    assert (record.config, record.status) == (config, TrialStatus.INTERRUPTED)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_trial_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own_space(tmp_path)))
    run = str(tmp_path / "run")
    arguments = ["trial", "--space", str(tmp_path / "own.yaml"), "--storage", str(tmp_path), "--name", "run"]
    with subprocess.Popen(
        [sys.executable, "-c", START, *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("step  49"):  # all is asked, long final passes follow
            assert process.poll() is None
        process.send_signal(number)
        told = process.stderr.read()
    assert process.returncode == code
    assert f"raysys trial --from {run}:u00000" in told
    assert main(["show", run, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["trials"]["interrupted"], shown["trials"]["running"]) == (
        "interrupted",
        1,
        0,
    )
    assert shown["queries"]["charged"] >= 90
    assert main(["trial", *arguments[1:]]) == 2
    assert "choose another --name" in capsys.readouterr().err
    assert main(["tune", "--resume", run]) == 5
    assert f"raysys trial --from {run}:u00000" in capsys.readouterr().err
