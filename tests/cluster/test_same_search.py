"""One seed, one trial at a time: one search, whatever happens to it; and what it leaves and teaches."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shell_runs import DIGITS, PATIENCE_S, Shell, charged_by_trials, same, trials, wait_for_charges

from raysys.cluster.plan import FLOOR
from raysys.records import TrialRecord, TrialStatus
from raysys.search.study_searcher import StudySearcher
from raysys.space.load import from_json
from raysys.store.layout import RunLayout
from raysys.store.reader import read_run
from raysys.store.warm_start import read_earlier

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPACE: dict[str, Any] = {
    "name": "search",
    **DIGITS,
    "method": "noise",
    "options": {"rounds": 2, "passes": 1, "final_passes": 30},
    "held_out": 200,
    "parameters": {
        "query_budget": {"type": "int", "low": 50, "high": 400},
        "optimizer": {"type": "categorical", "choices": ["sgd", "adamw"]},
        "sgd_lr": {
            "type": "float",
            "option": "lr",
            "low": 1.0e-6,
            "high": 0.1,
            "log": True,
            "when": {"optimizer": "sgd"},
        },
        "adamw_lr": {
            "type": "float",
            "option": "lr",
            "low": 1.0e-4,
            "high": 0.01,
            "log": True,
            "when": {"optimizer": "adamw"},
        },
    },
    "points": [
        {"values": {"query_budget": 400, "optimizer": "adamw", "adamw_lr": 5.0e-3}},
        {"values": {"query_budget": 400, "optimizer": "sgd", "sgd_lr": 1.0e-6}},
    ],
    "trials": 14,
}
"""The second trial learns nothing: it lags. After ten trials, configs on the front get a second seed."""

LAGS = "u00001"
ONE_AT_A_TIME = ["--concurrent", "1", "--progress", "none"]
SEED = 20261121
"""Of the moments at which a run is cut off."""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("search"))
    (shell.folder / "search.yaml").write_text(json.dumps(SPACE))
    return shell


@pytest.fixture(scope="module")
def undisturbed(shell: Shell) -> dict[str, Any]:
    """What `tune --json` printed for a run that nothing happened to."""
    told: dict[str, Any] = json.loads(shell.run(*begin("calm"), "--json")[0])
    return told


def begin(name: str) -> list[str]:
    return ["tune", "--space", "search.yaml", "--name", name, "--seeds", "2", *ONE_AT_A_TIME]


def test_a_run_that_is_killed_and_interrupted_searches_like_an_undisturbed_one(
    shell: Shell, undisturbed: dict[str, Any]
) -> None:
    run, rng = shell.run_path("storm"), np.random.default_rng(SEED)
    third = sum(record.queries for record in trials(shell.run_path("calm"))) // 3
    process = shell.start(*begin("storm"))
    wait_for_charges(process, run, int(rng.integers(1, third)))
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    process = shell.start("tune", "--resume", "runs/storm", *ONE_AT_A_TIME)
    wait_for_charges(process, run, charged_by_trials(run) + int(rng.integers(1, third)))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    told = json.loads(shell.run("tune", "--resume", "runs/storm", *ONE_AT_A_TIME, "--json")[0])

    assert [same(record) for record in trials(shell.run_path("storm"))] == [
        same(record) for record in trials(shell.run_path("calm"))
    ]
    assert told["queries"] == undisturbed["queries"]
    assert told["hypervolume"] == undisturbed["hypervolume"]
    for name in ("calm", "storm"):
        shell.run("audit", f"runs/{name}")


def test_trials_that_lag_are_stopped_and_not_on_the_front(shell: Shell, undisturbed: dict[str, Any]) -> None:
    records = {record.uid: record for record in trials(shell.run_path("calm"))}
    stopped = {uid for uid, record in records.items() if record.status is TrialStatus.STOPPED}
    assert LAGS in stopped
    assert undisturbed["trials"]["stopped"] == len(stopped)
    assert undisturbed["trials"]["finished"] == len(records) - len(stopped)
    told = json.loads(shell.run("front", "runs/calm", "--json")[0])
    for points in (told["points"], undisturbed["front"]):
        assert points and not stopped & {uid for point in points for uid in point["uids"]}


def test_a_point_of_several_seeds_is_delivered_with_all_of_them(
    shell: Shell, undisturbed: dict[str, Any]
) -> None:
    records = trials(shell.run_path("calm"))
    replicated = [point for point in undisturbed["front"] if point["seeds"] == 2]
    assert replicated
    delivered = set()
    for point in undisturbed["front"]:
        recipe = next(record.config.recipe for record in records if record.uid == point["uid"])
        seeds = [one for one in records if one.config.recipe == recipe and one.status is TrialStatus.FINISHED]
        delivered |= {one.uid for one in seeds}
        assert len(seeds) == point["seeds"] == len({one.config.seed for one in seeds})
        tested = [one.test_accuracy for one in seeds]
        assert point["test_accuracy"] == pytest.approx(np.mean(tested))
        if len(seeds) > 1:
            assert point["test_accuracy_std"] == pytest.approx(np.std(tested, ddof=1))
    assert {path.name for path in (shell.run_path("calm") / "students").iterdir()} == delivered


@pytest.mark.usefixtures("undisturbed")
def test_a_search_begins_with_what_another_one_learnt_and_keeps_it(shell: Shell) -> None:
    shutil.copytree(shell.run_path("calm"), shell.folder / "earlier")
    _, err = shell.run(*begin("warm"), "--trials", "3", "--warm-start", "earlier", "--seed", "1")
    assert "trials of" in err and "earlier fit this space" in err
    shutil.rmtree(shell.folder / "earlier")
    shell.run("tune", "--resume", "runs/warm", "--extend", "1", *ONE_AT_A_TIME)
    shell.run("audit", "runs/warm")
    assert (shell.run_path("warm") / "warm_start.parquet").exists()
    fourth = trials(shell.run_path("warm"))[3]
    kept = read_earlier(RunLayout(shell.run_path("warm")))
    assert [one.uid for one in kept] == [
        one.uid for one in trials(shell.run_path("calm")) if one.status is TrialStatus.FINISHED
    ]
    assert values_of_fourth(shell.run_path("warm"), kept) == searched(fourth)
    assert values_of_fourth(shell.run_path("warm"), []) != searched(fourth)


def values_of_fourth(run: Path, earlier: list[TrialRecord]) -> dict[str, Any]:
    """What a searcher with these earlier trials suggests after the first three of a run."""
    snapshot = read_run(run)
    manifest = snapshot.manifest
    space = from_json(manifest.space)
    floor = FLOOR * manifest.reference.accuracy
    study = StudySearcher(space, "tpe", manifest.seed, floor, manifest.seeds, manifest.trials, earlier)
    records = sorted(snapshot.records(), key=lambda record: record.uid)
    study.replay(records[:3])
    return dict(study.ask().values)


def searched(record: TrialRecord) -> dict[str, Any]:
    options = record.config.options
    return {
        "query_budget": options["query_budget"],
        "optimizer": options["optimizer"],
        f"{options['optimizer']}_lr": options["lr"],
    }
