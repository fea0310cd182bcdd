"""Tables of a run as files."""

import csv
import io
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from edge_runs import RUNS, build, replicate, trial, write_run

from raysys.records import EVALUATION, TrialStatus
from raysys.store.export import FRONT, Pick, encoded, export_table
from raysys.store.points import marked_front_json, run_front
from raysys.store.reader import Snapshot, read_run


def no_ledger() -> pa.Table:
    raise AssertionError("it is read only where it is exported")


def exported(run: Snapshot, what, kind="final", ledger=no_ledger, **limits) -> pa.Table:
    return export_table(run, what, Pick(**limits), kind, ledger)


def as_csv(table: pa.Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(encoded(table, "csv").decode(), newline="")))


@pytest.fixture
def run(tmp_path) -> Snapshot:
    records = [
        trial(0, queries=500, val_accuracy=0.8, seconds=10),
        trial(1, TrialStatus.STOPPED, queries=700, val_accuracy=0.9, seconds=20),
        trial(2, queries=900, val_accuracy=0.95, seconds=30),
        replicate(3, of=2, queries=1100, val_accuracy=0.93, seconds=30),
        trial(4, TrialStatus.FAILED, queries=50, val_accuracy=None, error="=cmd|' /C calc'!A0"),
    ]
    return read_run(write_run(tmp_path / "run", records))


def uids(table: pa.Table) -> list[str]:
    return sorted(set(table["uid"].to_pylist()))


def test_the_whole_is_what_is_in_the_run(run):
    assert exported(run, "trials").equals(run.trials)
    assert exported(run, "reports").equals(run.reports)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"statuses": ("stopped", "failed")}, ["u00001", "u00004"]),
        ({"max_queries": 700}, ["u00000", "u00001", "u00004"]),
        ({"max_seconds": 20.0, "statuses": ("finished",)}, ["u00000"]),
        ({"min_score": 0.9}, ["u00001", "u00002", "u00003"]),  # what has no score is below all
    ],
)
def test_a_part_is_of_trials_and_what_belongs_to_them(limits, expected, run):
    assert uids(exported(run, "trials", **limits)) == expected
    assert uids(exported(run, "reports", **limits)) == expected
    ledger = pa.table({"uid": [EVALUATION, *(f"u{number:05d}" for number in range(5))]})
    assert uids(exported(run, "ledger", ledger=lambda: ledger, **limits)) == expected
    assert exported(run, "ledger", ledger=lambda: ledger).equals(ledger)


def test_the_front_has_the_points_of_the_command(run):
    table = exported(run, "front")
    assert table.schema == FRONT
    points = marked_front_json(run, run_front(run))["points"]
    rows = table.to_pylist()
    assert [{**row, "config": json.loads(row["config"])} for row in rows] == points
    assert rows[-1]["uids"] == ["u00002", "u00003"]


def test_limits_leave_out_points_and_mark_the_best(run):
    rows = exported(run, "front", max_queries=600, min_score=0.5).to_pylist()
    assert [(row["uid"], row["best"], row["cheapest"]) for row in rows] == [("u00000", True, True)]
    assert exported(run, "front", max_seconds=5.0).num_rows == 0


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("kind", ["final", "anytime"])
def test_every_run_has_files(name, kind, tmp_path):
    run = read_run(build(tmp_path, name))
    for what in ("trials", "reports", "front"):
        table = exported(run, what, kind)
        read = pq.read_table(io.BytesIO(encoded(table, "parquet")))
        assert read.schema.equals(table.schema)
        assert repr(read.to_pylist()) == repr(table.to_pylist())  # NaN is no equal of itself
        rows = as_csv(table)
        assert len(rows) == table.num_rows
        assert not rows or list(rows[0]) == table.column_names


def test_no_text_is_a_formula_and_numbers_stay_numbers():
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "plain = text", 'a "quote"\nand a line', None]
    numbers = [-1.5, math.nan, math.inf, -math.inf, 0.0, 1e-9, None]
    rows = as_csv(pa.table({"text": texts, "number": numbers, "names": [["-a", "b"]] * 7}))
    assert [row["text"] for row in rows] == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@SUM(A1)",
        "plain = text",
        'a "quote"\nand a line',
        "",
    ]
    assert [row["names"] for row in rows] == ["'-a b"] * 7
    assert [row["number"] for row in rows] == ["-1.5", "nan", "inf", "-inf", "0", "1e-9", ""]


def test_an_error_that_is_a_formula_is_text_in_both_files(run):
    failed = exported(run, "trials", statuses=("failed",))
    assert as_csv(failed)[0]["error"].startswith("'=cmd")
    assert pq.read_table(io.BytesIO(encoded(failed, "parquet")))["error"][0].as_py().startswith("=cmd")
