"""`raysys compare` on runs as `raysys trial` makes them, and what it refuses."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edge_runs import UNLABELLED, config, trial, write_run
from tiny_trial import STUDENT, TASK

from raysys.cli.app import main
from raysys.cluster.in_process import Watcher, run_in_process
from raysys.cluster.machine import Machine
from raysys.cluster.problem import complete_config
from raysys.fronts.hypervolume import Reference
from raysys.models.classifiers import build_classifier
from raysys.models.weights import save_safetensors
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import read_manifest, write_manifest
from raysys.teacher.journal import read_accounts

Command = Callable[..., tuple[int, str, str]]
BRIEF = ("-s", "final_passes=1", "-s", "augment=0.0")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of structured noise, one of uniform, one of real images; an untrained teacher."""
    folder = tmp_path_factory.mktemp("storage")
    save_safetensors(build_classifier("mlp", TASK, seed=3), folder / "teacher.safetensors", {})
    for name, method, seed, options in (
        ("one", "noise", 0, {}),
        ("two", "noise", 1, {}),
        ("uniform", "noise", 0, {"kind": "uniform"}),
        ("real", "surrogate", 0, {}),
    ):
        space = Space.model_validate(
            {
                "name": "own",
                "dataset": "digits",
                "teacher": {"architecture": "mlp", "weights": str(folder / "teacher.safetensors")},
                "student": "mlp",
                "method": method,
                "options": {**STUDENT, **options},
                "parameters": {},
                "trials": 1,
            }
        )
        machine = Machine(data_root=folder, cache=folder / "cache")
        watcher = Watcher(lambda text: None, lambda report: None)
        wanted = complete_config(space, {}, "u00000", seed)
        run_in_process(RunLayout.open(folder / name), space, wanted, machine, watcher, f"p-{method}")
    return folder


@pytest.fixture
def compare(storage: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> tuple[int, str, str]:
        words = [
            str(storage / str(word)) if (storage / str(word)).is_dir() else str(word) for word in arguments
        ]
        code = main(["compare", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_seeds_are_a_row_with_mean_and_deviation(compare: Command, storage: Path) -> None:
    code, out, err = compare("one", "two", "one", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    (row,) = told["rows"]
    assert (row["method"], row["preset"], row["seeds"]) == ("noise", "p-noise", [0, 1])
    assert row["trials"] == [f"{storage}/one:u00000", f"{storage}/two:u00000"]
    for column in ("val_accuracy", "test_accuracy", "agreement"):
        values = row[column]["values"]
        assert row[column]["mean"] == pytest.approx(np.mean(values))
        assert row[column]["std"] == pytest.approx(np.std(values, ddof=1))
    assert told["teacher"]["architecture"] == "mlp"


def test_the_table_says_what_it_shows(
    compare: Command, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    code, out, err = compare("one", "two", "uniform", "real")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split()[:5] == ["method", "labels", "budget", "queries", "n"]
    assert lines[0].split()[5:] == ["val", "%", "test", "%", "agree", "%"]
    assert max(map(len, lines)) <= 110
    assert lines[1].split()[0] == "teacher"
    counts = {line.split()[1]: line.split()[2:6] for line in lines[2:5]}
    assert counts["p-surrogate*"] == ["hard", "50", "50", "1"]
    assert sorted(line.split()[5] for line in lines[2:5] if "noise" in line) == ["1", "2"]
    assert {": ".join(line.split(": ")[1:]) for line in lines[6:8]} == {"kind=structured", "kind=uniform"}
    assert "* surrogate (real images: not data-free)" in lines
    assert lines[-1] == "rows with fewer than 3 seeds (n) are no evidence"


def test_what_lacks_beside_a_comparison_is_said(compare: Command) -> None:
    assert "no row of uniform or structured noise at 50 queries" in compare("real")[2]
    assert compare("real", "uniform")[2] == ""


def test_fresh_students_are_the_same_twice_and_ask_nothing(compare: Command, storage: Path) -> None:
    before = {name: read_accounts(storage / name / "ledger") for name in ("one", "two")}
    code, out, err = compare("one", "two", "--fresh", *BRIEF, "--json")
    assert code == 0
    assert "fresh students, on all pairs: balance=True, final_passes=1, " in err
    assert f"{storage}/two:u00000  noise  50 pairs  seed 1  fresh val " in err
    (row,) = json.loads(out)["rows"]
    for column in ("fresh_val_accuracy", "fresh_test_accuracy"):
        assert len(row[column]["values"]) == 2 and row[column]["std"] is not None
    assert json.loads(out)["fresh"]["final_passes"] == 1
    assert compare("one", "two", "--fresh", *BRIEF, "--json")[1] == out
    assert {name: read_accounts(storage / name / "ledger") for name in ("one", "two")} == before
    table = compare("one", "two", "--fresh", *BRIEF)[1]
    assert [word for word in table.split()[:10] if word == "fresh"] == ["fresh", "fresh"]


def test_the_recipe_may_come_from_a_file(compare: Command, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("final_passes: 2\naugment: 0.0\n")
    told = json.loads(compare("one", "--fresh", "-c", tmp_path / "recipe.yaml", *BRIEF[:2], "--json")[1])
    assert (told["fresh"]["final_passes"], told["fresh"]["augment"]) == (1, 0.0)


def test_fresh_students_may_learn_from_the_first_pairs_only(compare: Command, storage: Path) -> None:
    _, out, err = compare("one", "two", "--fresh", "--first", "20", *BRIEF, "--json")
    assert "fresh students, on the first 20 pairs: " in err
    assert "two:u00000  noise  20 pairs  seed 1" in err
    assert json.loads(out)["first"] == 20
    assert (
        json.loads(out)["rows"] != json.loads(compare("one", "two", "--fresh", *BRIEF, "--json")[1])["rows"]
    )


def test_rows_without_pairs_have_no_fresh_students(compare: Command, storage: Path, tmp_path: Path) -> None:
    shutil.copytree(storage / "uniform", tmp_path / "old")
    (tmp_path / "old" / "students" / "u00000" / "pairs.parquet").unlink()
    code, out, _ = compare("one", tmp_path / "old", "--fresh", *BRIEF, "--json")
    means = {row["options"]["kind"]: row["fresh_val_accuracy"]["mean"] for row in json.loads(out)["rows"]}
    assert code == 0
    assert means["uniform"] is None and means["structured"] is not None
    code, out, err = compare(tmp_path / "old", "--fresh")
    assert (code, out) == (2, "")
    assert "no fresh student can be trained" in err


def test_runs_without_labels_are_compared_by_agreement(compare: Command, tmp_path: Path) -> None:
    known = trial(0, val_accuracy=None, agreement=0.5)
    known = replace(known, config=config(0, query_budget=500))
    root = write_run(tmp_path / "unlabelled", [known], **UNLABELLED).root
    code, out, _ = compare(root)
    assert code == 0
    assert out.splitlines()[0].split()[-5:] == ["agree", "%", "test", "agree", "%"]
    assert "50.0 ± -" in out and "val" not in out
    assert compare(root, "--json")[0] == 0


def test_searches_are_compared_by_what_their_fronts_attain(compare: Command, tmp_path: Path) -> None:
    for name, sampler, seed, accuracies in (
        ("r0", "random", 0, (0.50, 0.70)),
        ("r1", "random", 1, (0.40, 0.80)),
        ("t0", "tpe", 0, (0.60, 0.90)),
    ):
        ends = zip((100, 1600), accuracies, strict=True)
        records = [trial(number, queries=q, val_accuracy=a) for number, (q, a) in enumerate(ends)]
        write_run(tmp_path / name, records, sampler=sampler, seed=seed)
    runs = [tmp_path / name for name in ("r1", "r0", "t0")]
    code, out, _ = compare(*runs, "--fronts", "--json")
    told = json.loads(out)
    random, tpe = told["searches"]
    assert code == 0
    assert (random["sampler"], random["seeds"], random["queries"]) == ("random", [0, 1], [1700, 1700])
    volumes = random["hypervolume"]
    assert volumes["mean"] == pytest.approx(np.mean(volumes["values"]))
    assert volumes["std"] == pytest.approx(np.std(volumes["values"], ddof=1))
    assert told["budgets"] == [100, 149, 221, 329, 488, 725, 1077, 1600]
    assert random["attained"]["worst"] == [0.4] * 7 + [0.7]
    assert random["attained"]["best"] == random["attained"]["median"] == [0.5] * 7 + [0.8]
    assert told["level"] == min(volumes["values"]), "at least half of the random runs reach it"
    assert (random["queries_to_reach"], tpe["queries_to_reach"]) == ([100, 1700], [100])
    lines = compare(*runs, "--fronts")[1].splitlines()
    assert lines[1].split()[:8] == ["1", "digits", "ideal", "random", "none", "2", "2", "1,700"]
    assert lines[-3].split() == ["1,600", "70.0", "80.0", "80.0", "90.0", "90.0", "90.0"]


def test_a_search_with_a_warm_start_is_another_one(compare: Command, tmp_path: Path) -> None:
    for name, seed, changes in (("cold", 0, {}), ("warm", 1, {"warm_start": ("runs/first",)})):
        write_run(tmp_path / name, [trial(0)], seed=seed, **changes)
    told = json.loads(compare(tmp_path / "cold", tmp_path / "warm", "--fronts", "--json")[1])
    assert [one["seeds"] for one in told["searches"]] == [[0], [1]]


def test_fronts_that_are_measured_differently_are_refused(compare: Command, tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [trial(0)]).root
    for name, changes, message in (
        ("two", {"reference": Reference(0.1, 5000)}, "different references cannot be compared"),
        ("three", {"space": {"limits": {"queries": 900}}}, "one has none, .*three has queries 900"),
    ):
        other = write_run(tmp_path / name, [trial(0)], **changes).root
        code, out, err = compare(one, other, "--fronts")
        assert (code, out) == (2, "")
        assert re.search(message, err)
    beyond = write_run(tmp_path / "beyond", [trial(0)], space={"limits": {"queries": 10}}).root
    assert "none of these runs has a front" in compare(beyond, "--fronts")[2]
    assert "give one of them" in compare(one, "--fronts", "--fresh")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'RUN...'"),
        (["nowhere"], "nowhere is no run"),
        (["one", "-s", "lr=0.1"], "-s, -c and --first are about fresh students(?s:.*)add --fresh"),
        (["one", "--first", "10"], "add --fresh"),
        (
            ["one", "--fresh", "-s", "final_pases=3"],
            r"unknown option 'final_pases'(?s:.*)mean: final_passes\?",
        ),
        (["one", "--fresh", "-s", "passes=3"], "unknown option 'passes' of the student's recipe"),
        (["one", "--fresh", "-s", "query_budget=3"], "unknown option 'query_budget'"),
        (["one", "--fresh", "-s", "final_passes=0"], "a fresh student would learn nothing"),
        (["one", "--fresh", "-s", "lr=-1"], "option lr=-1 of the student's recipe cannot be used"),
    ],
)
def test_bad_input_is_refused(compare: Command, arguments: list[str], message: str) -> None:
    code, out, err = compare(*arguments)
    assert (code, out) == (2, "")
    assert re.search(message, err)


def test_runs_of_other_teachers_are_refused(compare: Command, storage: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", [trial(0)]).root
    code, out, err = compare("one", other)
    assert (code, out) == (2, "")
    assert "different teachers" in err and f"{storage}/one has mlp" in err and f"{other} has lenet5" in err


def test_a_changed_data_set_has_no_fresh_students(compare: Command, storage: Path) -> None:
    changed = storage / "changed"
    shutil.copytree(storage / "one", changed)
    layout = RunLayout(changed)
    manifest = read_manifest(layout)
    other = {"dataset": {**manifest.dataset, "sha256": "00"}}
    write_manifest(layout, manifest.model_copy(update=other))
    code, out, err = compare("changed", "--fresh")
    assert (code, out) == (2, "")
    assert "the data set digits is not the one of the runs" in err and "--data-root DIR" in err
