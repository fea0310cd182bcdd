"""The Export page: its files are those of the command."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from dashboard_app import open_page, texts
from edge_runs import book, build
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.testing.v1 import AppTest

from raysys.cli.app import main
from raysys.figures.methods import methods_text
from raysys.files import write_atomic
from raysys.records import EVALUATION
from raysys.store.layout import RunLayout
from raysys.store.reader import read_run
from raysys.teacher.log import FILE

Files = dict[str, Callable[[], bytes | str]]


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    """What the browser would get on a click, by the file's name."""
    found: Files = {}
    keep = MediaFileManager.add_deferred

    def add_deferred(self, make, mimetype, coordinates, file_name, **options):
        found[file_name] = make
        return keep(self, make, mimetype, coordinates, file_name, **options)

    monkeypatch.setattr(MediaFileManager, "add_deferred", add_deferred)
    return found


@pytest.fixture
def many(tmp_path: Path) -> RunLayout:
    layout = build(tmp_path, "many")
    book(layout)
    return layout


def command(app: AppTest) -> list[str]:
    """The command that the page says writes the same file, without `raysys`."""
    return next(shlex.split(code.value)[1:] for code in app.code if " --what " in code.value)


def written_by_command(app: AppTest, folder: Path) -> tuple[str, bytes]:
    """Name and content of the file that this command writes."""
    *words, name = command(app)
    assert main([*words, str(folder / name)]) == 0
    return name, (folder / name).read_bytes()


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
@pytest.mark.parametrize("what", ["trials", "front", "reports", "ledger"])
def test_a_download_is_the_commands_file(what, file_format, many, tmp_path, files, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "export", what=what, format=file_format)
    assert not app.exception
    name, content = written_by_command(app, tmp_path)
    assert name == f"many-{what}.{file_format}"
    assert files[name]() == content


@pytest.mark.parametrize("what", ["trials", "front", "ledger"])
def test_a_part_is_the_commands_part(what, many, tmp_path, files, monkeypatch):
    limits = {"max_queries": "1200", "min_score": "55.5"}
    app = open_page(monkeypatch, tmp_path, "export", what=what, format="csv", **limits)
    whole = files[f"many-{what}.csv"]()
    app.toggle(key="limited").set_value(True).run()
    if what != "front":
        app.multiselect(key="export-states").set_value(["finished"]).run()
        assert "--status" in command(app)
    name, content = written_by_command(app, tmp_path)
    assert files[name]() == content
    assert 1 < len(content.splitlines()) < len(whole.splitlines())
    assert EVALUATION.encode() not in content


def test_the_anytime_front_is_the_commands(many, tmp_path, files, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "export", what="front", front="all reports")
    assert "anytime" in command(app)
    name, content = written_by_command(app, tmp_path)
    assert files[name]() == content


def test_files_are_by_the_runs_own_objectives(tmp_path, files, monkeypatch):
    build(tmp_path, "three objectives")
    app = open_page(monkeypatch, tmp_path, "export", what="front", third="none")
    name, content = written_by_command(app, tmp_path)
    assert files[name]() == content


def test_the_page_says_how_much_it_is(many, tmp_path, monkeypatch):
    run = read_run(many)
    app = open_page(monkeypatch, tmp_path, "export", what="reports")
    assert f"{run.reports.num_rows:,} rows, {run.reports.num_columns} columns" in texts(app)
    app.segmented_control(key="what").set_value("trials").run()
    app.multiselect(key="export-states").set_value(["failed"]).run()
    assert "0 rows" in texts(app)
    assert any("No row is in this part" in info.value for info in app.info)


def test_a_damaged_ledger_is_told_and_offers_no_file(many, tmp_path, files, monkeypatch):
    journal = many.ledger / FILE
    journal.write_bytes(journal.read_bytes().replace(b'"images":', b'"imagez":', 1))
    app = open_page(monkeypatch, tmp_path, "export", what="ledger")
    assert app.error[0].value == "It cannot be read."
    assert "the ledger is damaged" in app.code[0].value
    assert list(files) == ["many-report.html"]
    assert methods_text(read_run(many)) in texts(app)


def test_students_that_are_kept_and_their_command(many, tmp_path, monkeypatch):
    for uid in ("u00007", "u00003"):
        place = many.students(uid) / "weights.safetensors"
        write_atomic(many.filesystem, place, lambda stream: stream.write(b"weights"))
    app = open_page(monkeypatch, tmp_path, "export", student="u00003")
    rows = next(frame.value for frame in app.dataframe if len(frame.value) == 2).to_dict("records")
    queries = {row["uid"]: row["queries"] for row in read_run(many).trials.to_pylist()}
    expected = sorted(("u00003", "u00007"), key=lambda uid: queries[uid])
    assert [(row["uid"], row["queries"]) for row in rows] == [(uid, queries[uid]) for uid in expected]
    assert f"raysys export {many.root} --student u00003 -o many-u00003" in texts(app)


def test_the_knee_is_the_student_that_is_offered_then_the_best(tmp_path, monkeypatch):
    layout = build(tmp_path, "three")
    for uid in ("u00000", "u00001", "u00002"):
        place = layout.students(uid) / "weights.safetensors"
        write_atomic(layout.filesystem, place, lambda stream: stream.write(b"weights"))
    app = open_page(monkeypatch, tmp_path, "export")
    assert app.selectbox(key="student").options == ["u00001", "u00002", "u00000"]
    assert app.selectbox(key="student").value == "u00001"


def test_the_report_is_the_commands(many, tmp_path, files, monkeypatch):
    build(tmp_path, "three")
    app = open_page(monkeypatch, tmp_path, "export", run="many", vs="three")
    words = next(shlex.split(code.value)[1:] for code in app.code if "raysys report" in code.value)
    assert words == ["report", str(many.root), str(tmp_path / "three"), "-o", "many-report.html"]
    report = tmp_path / words.pop()
    assert main([*words, str(report)]) == 0
    assert files[report.name]() == report.read_text()


def test_methods_and_whom_to_cite(many, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "export")
    assert methods_text(read_run(many)) in texts(app)
    assert "Query-Efficient Data-Free Learning from Black-Box Models. ICLR 2023" in texts(app)
    assert "Optuna" in texts(app)


@pytest.mark.parametrize("name", ["none", "failed-only", "Prüfung 数字 $5$"])
def test_a_run_with_little_in_it_can_be_exported(name, tmp_path, files, monkeypatch):
    build(tmp_path, name)
    app = open_page(monkeypatch, tmp_path, "export")
    for what in ("front", "ledger"):
        app.segmented_control(key="what").set_value(what).run()
        assert not app.exception
    assert len(files) == 4
    assert all(make() for make in files.values())
