"""The frame of every page."""

import json

import pytest
from dashboard_app import PAGES, charts, metrics, open_page, texts
from edge_runs import RUNS, build, report, trial, write_run

from raysys.store.reader import reports_of, trials_of
from raysys.store.schema import reports_table
from raysys.store.writer import RunWriter

MOST_JSON, MOST_WEBGL = 1_500_000, 4
WEBGL = ("scattergl", "parcoords", "scatter3d", "splom", "surface")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", RUNS)
def test_every_page_shows_every_edge_case_run(name, page, tmp_path, monkeypatch):
    build(tmp_path, name)
    app = open_page(monkeypatch, tmp_path, page)
    assert not app.exception
    assert app.selectbox(key="run").value == name
    assert all(element.proto.alt for element in [*app.get("plotly_chart"), *app.dataframe])
    drawn = list(charts(app).values())
    assert all(len(json.dumps(figure)) < MOST_JSON for figure in drawn)
    assert sum(trace["type"] in WEBGL for figure in drawn for trace in figure["data"]) <= MOST_WEBGL


def test_no_runs_says_how_to_start_one(tmp_path, monkeypatch):
    for storage in (tmp_path, tmp_path / "missing"):
        app = open_page(monkeypatch, storage)
        assert "no run here yet" in app.info[0].value
        assert app.code[0].value == f"raysys tune --space digits --storage {storage}"


def test_a_corrupt_run_is_told_and_others_stay_reachable(tmp_path, monkeypatch):
    build(tmp_path, "three")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    app = open_page(monkeypatch, tmp_path, "tradeoff", run="broken")
    assert app.error[0].value == "This run cannot be read."
    assert "broken/run.json" in app.code[0].value
    app.selectbox(key="run").select("three").run()
    assert not app.error
    assert charts(app)


def test_only_runs_of_the_storage_can_be_named_in_the_address(tmp_path, monkeypatch):
    build(tmp_path / "storage", "three")
    build(tmp_path, "one")
    app = open_page(monkeypatch, tmp_path / "storage", run="../one", vs="../one")
    assert not app.exception
    assert app.selectbox(key="run").value == "three"
    assert app.multiselect(key="vs").value == []


def test_the_address_says_what_is_looked_at(tmp_path, monkeypatch):
    for name in ("three", "many"):
        build(tmp_path, name)
    app = open_page(
        monkeypatch, tmp_path, run="three", vs="many", front="all reports", max_queries="900", min_score="50"
    )
    assert app.selectbox(key="run").value == "three"
    assert app.multiselect(key="vs").value == ["many"]
    assert app.number_input(key="max-queries").value == 900
    assert app.number_input(key="min-score").value == 50


def test_the_page_stays_as_it_was_until_refresh(tmp_path, monkeypatch):
    layout = build(tmp_path, "running")
    app = open_page(monkeypatch, tmp_path)
    assert metrics(app)["Failed trials"] == "0 of 2 (0%)"
    with RunWriter(layout) as writer:
        writer.trial(trial(3))
    app.run()
    assert "1 new trial:" in texts(app)
    assert metrics(app)["Failed trials"] == "0 of 2 (0%)"
    app.button(key="refresh").click().run()
    assert metrics(app)["Failed trials"] == "0 of 3 (0%)"
    assert not app.button


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kept", [0, 1])
def test_every_page_shows_reports_whose_trials_are_lost(kept, page, tmp_path, monkeypatch):
    layout = write_run(tmp_path / "run", RUNS["seeds"][0][:kept])
    reports_of(layout).append(reports_table([report(number, 1) for number in range(kept, 4)]), 2)
    (trials_of(layout).folder / "part-00000002-00000002-00000000.parquet").write_bytes(b"PAR1 damaged")
    for front in ("finished trials", "all reports"):
        app = open_page(monkeypatch, tmp_path, page, front=front)
        assert not app.exception
