"""The methods paragraph says what the run says, and nothing else."""

from dataclasses import replace

import pytest
from edge_runs import RUNS, UNLABELLED, build, config, trial, write_run

from raysys.figures.methods import methods_text
from raysys.fronts.objectives import AGREEMENT, QUERIES
from raysys.store.points import run_front
from raysys.store.reader import Snapshot, read_run

OBJECTIVES = [{"name": "val_accuracy", "direction": "maximize"}, {"name": "queries", "direction": "minimize"}]


@pytest.fixture
def run(tmp_path) -> Snapshot:
    records = [trial(0, test_accuracy=0.79), trial(1)]
    records = [replace(one, config=config(n, query_budget=500 * (n + 1))) for n, one in enumerate(records)]
    space = {"name": "digits", "price": 0.01, "held_out": 200, "objectives": OBJECTIVES}
    space |= {"teacher": {"top_k": 1, "decimals": None}, "limits": {"queries": 900}}
    return read_run(
        write_run(
            tmp_path / "my run",
            records,
            space=space,
            seed=7,
            seeds=3,
            scheduler="query-asha",
            milestones=(250, 500),
            caps={"queries": 20000, "cost": 100.0, "time": 60},
            dataset={"name": "digits", "sha256": "ef" * 32, "root": "/home/me/data"},
            versions={"python": "3.11.2", "torch": "2.15.0"},
            code="12" * 32,
            charged=1600,
            executed=1700,
        )
    )


@pytest.mark.parametrize(
    "said",
    [
        "lenet5-digits (architecture lenet5)",
        "ab" * 32,
        "98.50% on val and 98.70% on test",
        "response hard, teacher.top_k 1",
        f"data set digits (sha256 {'ef' * 32})",
        "At most 200 of its held-out images were split once",
        f"digits, sha256 {'cd' * 32}",
        "Sampler tpe; scheduler: query-asha, which judges trials at 250, 500 queries.",
        "2 trials were planned; 2 finished.",
        "The seed of the run is 7",
        "gets 3 trials with different seeds",
        "of 500 to 1,000 queries",
        "limited to 100.00 USD, 20,000 queries, 60 seconds",
        "1,600 queries were charged in all, evaluation included. 1,700 images were sent",
        "that is 17.00 USD",
        "val accuracy (maximized), queries (minimized)",
        "beyond these limits are left out: queries 900.",
        "reference point of val accuracy 0.1 (chance) and 2,000 queries",
        "Students tested: 1.",
        "raysys 0.1.0, python 3.11.2, torch 2.15.0.",
        "12" * 32,
        "began at 2026-11-21T08:00:00Z and is finished, as of 20",
    ],
)
def test_it_tells_what_the_run_tells(run, said):
    assert said in methods_text(run)


def test_its_numbers_are_those_of_the_front_and_it_says_how_to_print_them(run):
    front = run_front(run)
    told = methods_text(run)
    assert (
        f"The final front has 1 point, hypervolume {front.hypervolume:.4f}. 1 left out for a limit." in told
    )
    assert f"raysys front '{run.path}' prints the same numbers." in told


def test_what_is_not_known_is_left_out(tmp_path):
    told = methods_text(read_run(write_run(tmp_path / "bare", [], **UNLABELLED)))
    assert "somewhere (architecture http)" in told
    for absent in ("None", "Its accuracy", "Its sha256", "data set", "sources", "budget of its own", "sent"):
        assert absent not in told
    assert "Objectives: agreement (maximized), queries (minimized)." in told
    assert "Students tested: none yet." in told


def test_a_run_that_searched_nothing_has_no_sampler(tmp_path):
    told = methods_text(read_run(write_run(tmp_path / "run", [trial(0)], sampler="none")))
    assert "Nothing was searched" in told
    assert "ampler" not in told


def test_other_objectives_than_the_runs_own_are_told(run):
    changed = run.manifest.model_copy(update={"objectives": (AGREEMENT, QUERIES)})
    told = methods_text(replace(run, manifest=changed))
    assert "These objectives are not the run's own (queries, val_accuracy)." in told
    assert "prints the same numbers" not in told


@pytest.mark.parametrize("name", RUNS)
def test_every_edge_case_run_has_one(name, tmp_path):
    assert len(methods_text(read_run(build(tmp_path, name))).split("\n\n")) == 6
