"""Each method through `raysys tune` on real Ray, killed on the way or not, and through `raysys trial`."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from crash_runs import TITLES, end, family

from raysys.cli.app import main
from raysys.data.datasets import is_present
from raysys.records import EVALUATION, TrialRecord, TrialStatus
from raysys.store.reader import read_run
from raysys.teacher.journal import read_accounts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BUDGET = 330
SMALL = ["--smoke", "-s", f"query_budget={BUDGET}", "-s", "held_out=200", "-s", "passes=1"]
OFFICIAL = ["-s", "labels=official", "-s", "epochs=3", "-s", "batch_size=100", "-s", "warmup_share=0"]
SHORT = ["-s", "final_passes=2"]
METHODS = {
    "ideal": ["-s", "warmup_share=0", "-s", "batch_size=100", "-s", "epochs=4"],
    "official": OFFICIAL,
    "uniform": ["--method", "noise", "-s", "kind=uniform", "-s", "rounds=3"],
    "structured": ["--method", "noise", "-s", "kind=structured", "-s", "rounds=3"],
    "dfme": ["--method", "dfme", "--response", "soft", "-s", "rounds=3"],
    "db3kd": ["--method", "db3kd", "-s", "distance=minimal", "-s", "block=10"],
    "zsdb3kd": ["--method", "zsdb3kd", "-s", "distance=minimal", "-s", "search_rounds=1", "-s", "block=10"],
    "surrogate": ["--method", "surrogate", "-s", "rounds=3", "-s", "candidates=2"],
}
PATIENCE_S = 240


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a cache of its own: each teacher is trained once."""
    folder = tmp_path_factory.mktemp("methods")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("RAYSYS_STORAGE", raising=False)
        yield folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """A cluster that all runs join: Ray is started once."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def mnist(data_root: Path) -> list[str]:
    if not is_present("mnist", data_root):
        pytest.skip(f"no MNIST below {data_root}")
    return ["--space", "mnist", "--data-root", str(data_root), "-s", "teacher.recipe.epochs=1"]


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The JSON that a command prints; it must end well."""
    code = main([*arguments, "--json"])
    streams = capsys.readouterr()
    assert code == 0, streams.err
    found: dict[str, Any] = json.loads(streams.out)
    return found


def the_books_are_right(run: Path, capsys: pytest.CaptureFixture[str]) -> int:
    """What the run's only trial was charged."""
    audit = told(capsys, "audit", str(run))
    charged = read_accounts(run / "ledger")["u00000"].charged
    assert audit["mismatches"] == []
    assert (
        audit["charged"] == audit["executed"] == read_accounts(run / "ledger")[EVALUATION].charged + charged
    )
    assert 0 < charged <= BUDGET
    return charged


def kill_a_worker(run: Path, killed: list[int]) -> None:
    """kill -9 the process of the run's trial, as soon as that has a checkpoint."""
    deadline = time.monotonic() + PATIENCE_S
    while not list((run / "checkpoints" / "u00000").glob("state-*.pt")):
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)
    for process in family(os.getpid()):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(TITLES["worker"]):
                end([process])
                killed.append(process.pid)


def tune(
    run: Path, address: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> tuple[TrialRecord, int]:
    """The only trial of a run on the cluster, and its charge."""
    command = ["tune", *flags, *SMALL, *METHODS[run.name], "--trials", "1", "--progress", "none"]
    done = told(capsys, *command, "--address", address, "--name", run.name)
    assert done["trials"]["finished"] == 1
    charged = the_books_are_right(run, capsys)
    (record,) = read_run(run).records()
    assert (record.status, record.queries) == (TrialStatus.FINISHED, charged)
    return record, charged


def in_one_process(run: Path, record: TrialRecord, capsys: pytest.CaptureFixture[str]) -> None:
    """`raysys trial` gives the same student for the same queries."""
    again = told(capsys, "trial", "--from", f"{run}:u00000", "--name", f"{run.name}-again")
    assert (again["weights_sha256"], again["queries"]) == (record.weights_sha256, record.queries)
    assert the_books_are_right(run.with_name(f"{run.name}-again"), capsys) == record.queries


@pytest.mark.parametrize("kind", ["official", "uniform", "surrogate"])
def test_on_ray_a_method_keeps_its_budget_and_gives_the_student_of_one_process(
    home: Path, address: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = home / "runs" / kind
    record, _ = tune(run, address, ["--space", "digits", *SHORT], capsys)
    in_one_process(run, record, capsys)


@pytest.mark.parametrize("kind", ["dfme", "zsdb3kd"])
def test_killed_on_ray_it_goes_on_and_gives_the_student_of_one_process(
    home: Path, address: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, killed = home / "runs" / kind, list[int]()
    killer = threading.Thread(target=kill_a_worker, args=(run, killed), daemon=True)
    killer.start()
    long = ["-s", "final_passes=400"]  # the kill meets a trial at work
    record, _ = tune(run, address, ["--space", "digits", *long], capsys)
    killer.join()
    assert killed
    assert {0, 1} <= set(read_run(run).reports["attempt"].to_pylist()), "it was killed on the way"
    in_one_process(run, record, capsys)


@pytest.mark.data
def test_on_ray_real_images_of_mnist_reach_the_trial(
    home: Path, address: str, mnist: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = home / "runs" / "db3kd"
    record, charged = tune(run, address, [*mnist, *SHORT], capsys)
    assert charged > BUDGET / 2
    in_one_process(run, record, capsys)


@pytest.mark.data
@pytest.mark.parametrize("kind", METHODS)
def test_on_mnist_a_method_keeps_its_budget(
    home: Path, mnist: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["trial", *mnist, *SMALL, *METHODS[kind], *SHORT, "--name", f"mnist-{kind}"]
    done = told(capsys, *command)
    assert the_books_are_right(home / "runs" / f"mnist-{kind}", capsys) == done["queries"]
