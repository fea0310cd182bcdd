"""What must stay light is light: import-linter checks the arrows, this what is really loaded."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "ray", "optuna", "streamlit", "plotly", "sklearn", "pandas"}


def loaded(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after `code`."""
    report = (
        "import json, sys; print('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True, timeout=60
    )
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "command",
    [["--help"], ["tune", "--help"], ["spaces"], ["spaces", "cifar10"], ["spaces", "--json"], ["nonsense"]],
)
def test_light_commands_load_nothing_heavy(command: list[str]) -> None:
    assert loaded(f"from raysys.cli.app import main; main({command})") == set()


@pytest.mark.parametrize(
    "module",
    [
        "raysys",
        "raysys.records",
        "raysys.space.load",
        "raysys.distill.options",
        "raysys.cluster.plan",
        "raysys.tune",
    ],
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    assert loaded(f"import {module}") == set()


@pytest.mark.parametrize(
    "module", ["raysys.store.reader", "raysys.store.writer", "raysys.fronts.front", "raysys.figures.front"]
)
def test_what_the_dashboard_reads_with_loads_no_torch_or_ray(module: str) -> None:
    assert not {"torch", "ray", "optuna"} & loaded(f"import {module}")


def test_a_trial_runs_without_ray() -> None:
    assert not {"ray", "optuna", "streamlit"} & loaded("import raysys.distill.trial")
