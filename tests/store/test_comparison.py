"""Which trials make a row, and what its numbers are."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edge_runs import TEACHER, UNLABELLED, trial, write_run

from raysys.records import TrialConfig, TrialRecord, TrialStatus
from raysys.store.comparison import (
    Row,
    Spread,
    comparable,
    differing,
    row_json,
    rows_of,
    score_of,
    spread,
    without_noise,
)
from raysys.store.reader import Snapshot, read_run


def record(
    number: int, seed: int, accuracy: float | None = 0.9, budget: int = 500, **values: Any
) -> TrialRecord:
    """A finished trial; `method`, `response` and options are taken out of the values."""
    method, response = values.pop("method", "noise"), values.pop("response", "hard")
    options = {"query_budget": budget, "kind": values.pop("kind", "structured"), "lr": 0.05}
    config = TrialConfig(f"u{number:05d}", method, response, values.pop("student", "mlp"), seed, options)
    known: dict[str, Any] = {"queries": budget, "agreement": 0.8, **values}
    return replace(trial(number, val_accuracy=accuracy, **known), config=config)


def compared(paths: list[str]) -> list[Snapshot]:
    kept, refused = comparable(map(read_run, paths))
    assert refused == []
    return kept


def rows(tmp_path: Path, *runs: list[TrialRecord], **changes: Any) -> list[Row]:
    paths = [str(tmp_path / f"run{number}") for number in range(len(runs))]
    for path, records in zip(paths, runs, strict=True):
        write_run(Path(path), records, **changes)
    return rows_of(compared(paths))


def test_mean_and_sample_deviation() -> None:
    found = spread([0.90, 0.92, 0.97])  # deviations -0.03, -0.01, 0.04: squares sum to 0.0026
    assert found is not None
    assert found.mean == pytest.approx(0.93)
    assert found.std == pytest.approx(0.0013**0.5)
    assert spread([0.5]) == Spread(0.5, None)
    assert spread([0.5, None]) is None
    assert spread([]) is None


def test_seeds_of_one_config_are_a_row_over_all_runs(tmp_path: Path) -> None:
    first = [record(0, 7, 0.90, queries=400, test_accuracy=0.8), record(1, 3, 0.92)]
    (row,) = rows(tmp_path, first, [record(0, 5, 0.97)])
    assert [entry.record.config.seed for entry in row.entries] == [3, 5, 7]
    names = [(1, "run0"), (0, "run1"), (0, "run0")]
    assert [entry.name for entry in row.entries] == [f"{tmp_path}/{run}:u0000{n}" for n, run in names]
    told = row_json(row, ["queries", "val_accuracy", "test_accuracy"])
    assert told["val_accuracy"] == {
        "mean": pytest.approx(0.93),
        "std": pytest.approx(0.0013**0.5),
        "values": [0.92, 0.97, 0.90],
    }
    assert told["queries"]["mean"] == pytest.approx(1400 / 3)
    assert told["test_accuracy"] == {"mean": None, "std": None, "values": [None, None, 0.8]}, "not each seed"
    assert (told["seeds"], told["query_budget"], told["student"]) == ([3, 5, 7], 500, "mlp")
    assert told["options"] == {"query_budget": 500, "kind": "structured", "lr": 0.05}


@pytest.mark.parametrize(
    "other",
    [{"method": "ideal"}, {"response": "soft"}, {"student": "cnn3"}, {"kind": "uniform"}, {"budget": 501}],
)
def test_whatever_else_differs_is_another_row(tmp_path: Path, other: dict[str, Any]) -> None:
    assert len(rows(tmp_path, [record(0, 1), record(1, 2, **other)])) == 2


def test_what_the_teacher_hides_makes_another_row(tmp_path: Path) -> None:
    write_run(tmp_path / "all", [record(0, 1, response="soft")])
    hidden = {"name": "digits", "teacher": {"top_k": 1, "decimals": None}}
    write_run(tmp_path / "top", [record(0, 2, response="soft")], space=hidden)
    found = rows_of(compared([str(tmp_path / "all"), str(tmp_path / "top")]))
    assert differing(found) == [{"teacher.top_k": None}, {"teacher.top_k": 1}]


def test_rows_come_by_budget_then_accuracy(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        [
            record(0, 1, 0.99, budget=2000),
            record(1, 1, 0.80),
            record(2, 1, 0.85, kind="uniform"),
            record(3, 1, float("nan"), method="ideal"),
            record(4, 1, 0.10, method="dfme"),
        ],
    )
    assert [one.entries[0].record.uid[-1] for one in found] == ["2", "1", "4", "3", "0"]
    assert [one.budget for one in found] == [500, 500, 500, 500, 2000]


def test_rows_without_labels_come_by_agreement(tmp_path: Path) -> None:
    records = [record(number, 1, None, kind=kind, agreement=a) for number, kind, a in
               ((0, "uniform", 0.5), (1, "structured", 0.7))]  # fmt: skip
    found = rows(tmp_path, records, **UNLABELLED)
    assert score_of(found) == "agreement"
    assert [one.terms["kind"] for one in found] == ["structured", "uniform"]


def test_only_finished_trials_that_asked_count(tmp_path: Path) -> None:
    unfinished = [
        replace(record(1, 2), status=status) for status in (TrialStatus.FAILED, TrialStatus.STOPPED)
    ]
    (row,) = rows(tmp_path, [record(0, 1), *unfinished, record(3, 3, queries=0)])
    assert len(row.entries) == 1


def test_a_seed_counts_once_and_tested_first(tmp_path: Path) -> None:
    tested = {"test_accuracy": 0.7, "test_agreement": 0.7}
    (row,) = rows(tmp_path, [record(0, 1)], [record(0, 1, **tested)], [record(0, 1)])
    assert [entry.name for entry in row.entries] == [f"{tmp_path}/run1:u00000"]


def test_a_run_given_twice_counts_once(tmp_path: Path) -> None:
    root = write_run(tmp_path / "run", [record(0, 1)]).root
    (tmp_path / "link").symlink_to(root)
    assert len(compared([str(root), f"{root}/", str(tmp_path / "link")])) == 1


def test_a_preset_names_a_row_only_if_all_its_trials_were_of_it(tmp_path: Path) -> None:
    for name, preset in (("a", "structured"), ("b", "structured"), ("c", "")):
        write_run(tmp_path / name, [record(0, ord(name))], preset=preset)
    paths = [str(tmp_path / name) for name in "abc"]
    assert [row.preset for row in rows_of(compared(paths[:2]))] == ["structured"]
    assert [row.preset for row in rows_of(compared(paths))] == [""]


def test_what_tells_rows_of_one_method_and_budget_apart(tmp_path: Path) -> None:
    kin = [record(0, 1), record(1, 1, 0.8, kind="uniform")]
    found = rows(tmp_path, [*kin, record(2, 1, 0.7, method="ideal"), record(3, 1, budget=600)])
    assert differing(found) == [{"kind": "structured"}, {"kind": "uniform"}, {}, {}]


def test_budgets_without_noise_are_told(tmp_path: Path) -> None:
    others = [record(1, 1, method="ideal"), record(2, 1, budget=600, method="dfme")]
    found = rows(tmp_path, [record(0, 1), *others, record(3, 1, budget=700, kind="scribbles")])
    assert without_noise(found) == [600, 700]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": replace(TEACHER, sha256="cd" * 32)}, "teachers cannot(?s:.*)abababababab.*cdcdcdcdcdcd"),
        (
            {"dataset": {"name": "mnist", "sha256": "ef" * 32}},
            "data sets cannot(?s:.*)None.*mnist efefefefefef",
        ),
        ({"space": {"held_out": 100}}, "test splits cannot(?s:.*)all held-out images.* 100 held-out images"),
    ],
)
def test_runs_that_do_not_compare_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    paths = [str(write_run(tmp_path / "one", [record(0, 1)]).root)]
    paths.append(str(write_run(tmp_path / "two", [record(0, 2)], **changes).root))
    kept, (reason,) = comparable(map(read_run, paths))
    assert [run.name for run in kept] == ["one"]
    assert re.search(message, str(reason))


def test_runs_without_a_result_are_left_out_and_the_next_one_is_the_measure(tmp_path: Path) -> None:
    waits = [replace(record(0, 1), status=TrialStatus.RUNNING)]
    write_run(tmp_path / "waits", waits, teacher=replace(TEACHER, sha256="cd" * 32))
    for name in ("one", "two"):
        write_run(tmp_path / name, [record(0, 1)])
    kept, (reason,) = comparable(read_run(tmp_path / name) for name in ("waits", "one", "two"))
    assert [run.name for run in kept] == ["one", "two"]
    assert "waits has no finished trial" in str(reason)
    assert comparable([]) == ([], [])
