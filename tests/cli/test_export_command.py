import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pyarrow.parquet as pq
import pytest
from edge_runs import book, build, write_run
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from s3_server import S3
from safetensors.torch import load_file
from search_runs import SPACE, ended
from tiny_trial import TASK

from raysys.cli.app import main
from raysys.cluster.trial_files import TrialFiles
from raysys.files import read_bytes
from raysys.models.classifiers import build_classifier
from raysys.records import TrialStatus
from raysys.space.load import to_json
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState
from raysys.store.reader import read_run
from raysys.teacher.charges import charges_table


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that goes on: one trial no better than chance, one good, one stopped, one not yet ended."""
    records = [
        ended(0, TrialStatus.FINISHED, val_accuracy=0.12, queries=50),
        ended(1, TrialStatus.FINISHED),
        ended(2, TrialStatus.STOPPED),
        ended(3, TrialStatus.RUNNING),
    ]
    write_run(tmp_path / "first Prüfung", records, space=to_json(SPACE), state=RunState.RUNNING)
    return tmp_path / "first Prüfung"


@pytest.mark.parametrize("name", ["study.db", "study.log"])
def test_optuna_loads_the_study_of_a_run(
    name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new folder" / name
    assert main(["export", str(run), "--what", "study", "-o", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: 3 trials, study 'first Prüfung'\n"
    assert [path.name for path in file.parent.iterdir()] == [name]

    database = name.endswith(".db")
    storage = RDBStorage(f"sqlite:///{file}") if database else JournalStorage(JournalFileBackend(str(file)))
    study = optuna.load_study(study_name="first Prüfung", storage=storage)
    assert [trial.state for trial in study.trials] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.PRUNED,
    ]
    assert study.metric_names == ["val_accuracy", "queries"]
    (best,) = study.best_trials  # 1.5 times chance is the least that counts
    assert best.user_attrs == {"uid": "u00001", "seed": 1, "queries": 500}
    assert best.values == [0.8, 500.0]
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def test_nothing_is_replaced(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "study.db"
    file.write_text("mine")
    assert main(["export", str(run), "--what", "study", "-o", str(file)]) == 2
    assert f"{file} exists" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_what_cannot_be_exported_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "study.db"
    assert main(["export", str(tmp_path / "nothing"), "--what", "study", "-o", str(file)]) == 2
    assert "is no run" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--what", "weather", "-o", str(file)]) == 2
    assert "study" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


TABLES = ("trials", "front", "reports", "ledger")


@pytest.fixture
def many(tmp_path: Path) -> RunLayout:
    """A run of sixty trials with its ledger."""
    layout = build(tmp_path / "runs", "many")
    book(layout)
    return layout


def exported(*arguments: object) -> int:
    return main(["export", *map(str, arguments)])


@pytest.mark.parametrize("what", TABLES)
def test_a_table_becomes_a_file_of_either_kind(
    what: str, many: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet, text = tmp_path / "new" / "table", tmp_path / "table.csv"
    assert exported(many.root, "--what", what, "-o", parquet) == 0
    table = pq.read_table(parquet)
    assert capsys.readouterr().out == f"{parquet}: {table.num_rows} rows of {what}\n"
    assert exported(many.root, "--what", what, "-o", text, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "run": str(many.root),
        "what": what,
        "format": "csv",
        "path": str(text),
        "rows": table.num_rows,
    }
    rows = list(csv.DictReader(io.StringIO(text.read_text(), newline="")))
    assert [row["uid"] for row in rows] == table["uid"].to_pylist()
    assert list(rows[0]) == table.column_names


def test_the_rows_are_those_of_the_run(
    many: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = read_run(many)
    for what, expected in (
        ("trials", run.trials),
        ("reports", run.reports),
        ("ledger", charges_table(many.ledger)),
    ):
        assert exported(many.root, "--what", what, "-o", tmp_path / what) == 0
        assert pq.read_table(tmp_path / what).equals(expected)
    assert main(["front", str(many.root), "--json", "--kind", "anytime"]) == 0
    front = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert exported(many.root, "--what", "front", "--kind", "anytime", "-o", tmp_path / "front") == 0
    points = pq.read_table(tmp_path / "front").to_pylist()
    assert [{**point, "config": json.loads(point["config"])} for point in points] == front["points"]


def test_a_part_is_picked(many: RunLayout, tmp_path: Path) -> None:
    limits = ["--max-queries", 1000, "--min-accuracy", 0.6]
    file = tmp_path / "part.parquet"
    assert exported(many.root, "--what", "trials", "--status", "stopped", *limits, "-o", file) == 0
    rows = pq.read_table(file).to_pylist()
    assert rows
    assert {row["status"] for row in rows} == {"stopped"}
    assert max(row["queries"] for row in rows) <= 1000
    assert min(row["val_accuracy"] for row in rows) >= 0.6
    states = ["--status", "stopped", "--status", "finished"]
    assert exported(many.root, "--what", "ledger", *states, "-o", file, "--force") == 0
    assert len(set(pq.read_table(file)["uid"].to_pylist())) == 60


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "it is not said what to export"),
        (["--what", "trials", "--student", "u00000"], "--what and --student are two exports"),
        (["--student", "u00000", "--format", "csv"], "--format does not go with --student"),
        (["--what", "study", "--format", "csv"], "--format does not go with --what study"),
        (["--what", "study", "--status", "failed"], "--what study is exported as a whole"),
        (["--student", "u00000", "--max-queries", "5"], "--student is exported as a whole"),
        (["--what", "front", "--status", "failed"], "--status does not go with --what front"),
        (["--what", "trials", "--kind", "anytime"], "--kind does not go with --what trials"),
        (["--what", "trials", "--format", "parquet", "-o", "x.csv"], "ends in .csv, but --format says"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_any_work(
    options: list[str], told: str, many: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = [] if "-o" in options else ["-o", str(tmp_path / "file")]
    assert exported(many.root, *options, *output) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_table_replaces_a_file_only_if_told_so_and_never_a_folder(
    many: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trials.csv"
    file.write_text("mine")
    assert exported(many.root, "--what", "trials", "-o", file) == 2
    assert file.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert exported(many.root, "--what", "trials", "-o", file, "--force") == 0
    assert "u00059" in file.read_text()
    assert exported(many.root, "--what", "trials", "-o", tmp_path, "--force") == 2
    assert "is a folder" in capsys.readouterr().err


def test_a_table_goes_to_a_uri(
    many: RunLayout, s3: S3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    place = s3.uri("exports/many/trials.csv")
    assert exported(many.root, "--what", "trials", "-o", place) == 0
    target = RunLayout.open(place)
    content = read_bytes(target.filesystem, target.root)
    assert content is not None
    assert len(content.splitlines()) == 61
    assert exported(many.root, "--what", "trials", "-o", place) == 2
    assert "exists" in capsys.readouterr().err


@pytest.fixture
def delivered(tmp_path: Path) -> RunLayout:
    """A run with two finished trials, of which the second's student is kept."""
    records = [
        ended(0, TrialStatus.FINISHED, queries=400, val_accuracy=0.7),
        ended(1, TrialStatus.FINISHED, agreement=0.91, test_accuracy=0.79, test_agreement=0.9),
    ]
    layout = RunLayout(tmp_path / "runs" / "some run")
    student = build_classifier(records[1].config.student, TASK, seed=3)
    digest = TrialFiles(layout, "u00001").save_student(student, records[1].config)
    records[1] = replace(records[1], weights_sha256=digest)
    write_run(layout.root, records, space=to_json(SPACE), code="ef" * 32, dataset={"name": "digits"})
    return layout


def test_a_student_has_a_folder_of_its_own(
    delivered: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "student"
    assert exported(delivered.root, "--student", "u00001", "-o", folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == ["weights.safetensors", "config.json", "README.md"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(told["files"])
    kept = delivered.students("u00001") / "weights.safetensors"
    assert (folder / "weights.safetensors").read_bytes() == kept.read_bytes()
    config = json.loads((folder / "config.json").read_text())
    record = read_run(delivered).records()[1]
    assert (config["uid"], config["options"]) == ("u00001", dict(record.config.options))
    assert (config["image_shape"], config["num_classes"]) == ([1, 8, 8], 10)


def test_the_model_card_says_what_it_is_and_how_to_load_it(delivered: RunLayout, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    assert exported(delivered.root, "--student", "u00001", "-o", folder) == 0
    card = (folder / "README.md").read_text()
    record = read_run(delivered).records()[1]
    for words in (
        "Student u00001 of the run some run",
        "`lenet5-digits`, `lenet5`",
        "ab" * 32,  # the teacher
        "ef" * 32,  # the code
        record.weights_sha256,
        "| method | `ideal`, hard responses |",
        f"| queries charged | {record.queries:,} |",
        f"| seed | {record.config.seed} |",
        "| val accuracy | 80.00% |",
        "| test accuracy | 79.00% |",
        "| val agreement | 91.00% |",
        "| test agreement | 90.00% |",
        "Limits of use",
    ):
        assert words in card
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet is not None
    ran = subprocess.run(
        [sys.executable, "-c", snippet[1]], cwd=folder, capture_output=True, text=True, check=True
    )
    labels = json.loads(ran.stdout)
    assert len(labels) == 2
    assert set(labels) <= set(range(10))
    assert "mean" in load_file(folder / "weights.safetensors")


def test_a_student_that_is_not_there_names_those_that_are(
    delivered: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "student"
    assert exported(delivered.root, "--student", "u00000", "-o", folder) == 2
    told = capsys.readouterr().err
    assert "the student of u00000 was not kept" in told
    assert "kept: u00001" in told
    assert f"raysys trial --from '{delivered.root}':u00000" in told
    for uid in ("u00009", "../u00001", ""):
        assert exported(delivered.root, "--student", uid, "-o", folder) == 2
        assert "kept: u00001" in capsys.readouterr().err
    assert not folder.exists()


def test_a_student_replaces_nothing_unless_told_so(
    delivered: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    assert exported(delivered.root, "--student", "u00001", "-o", folder) == 2
    assert f"{folder} exists" in capsys.readouterr().err
    assert exported(delivered.root, "--student", "u00001", "-o", folder, "--force") == 0
    assert "Student u00001" in (folder / "README.md").read_text()
    (tmp_path / "file").write_text("mine")
    assert exported(delivered.root, "--student", "u00001", "-o", tmp_path / "file", "--force") == 2
    assert "is a file" in capsys.readouterr().err


def test_a_damaged_student_is_not_exported(
    delivered: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = build_classifier(read_run(delivered).records()[1].config.student, TASK, seed=4)
    TrialFiles(delivered, "u00001").save_student(other, read_run(delivered).records()[1].config)
    assert exported(delivered.root, "--student", "u00001", "-o", tmp_path / "student") == 2
    assert "is not the one that its trial made" in capsys.readouterr().err
    (delivered.students("u00001") / "weights.safetensors").write_bytes(b"nothing")
    assert exported(delivered.root, "--student", "u00001", "-o", tmp_path / "student") == 2
    assert "the student of u00001 is damaged" in capsys.readouterr().err
    assert not (tmp_path / "student").exists()
