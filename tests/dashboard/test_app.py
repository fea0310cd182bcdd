import base64
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from edge_runs import RUNS, build, trial, write_run
from streamlit.testing.v1 import AppTest

from raysys.store.writer import RunWriter

APP = Path(__file__).parents[2] / "dashboard" / "app.py"


def open_app(monkeypatch: pytest.MonkeyPatch, storage: Path, **query: str) -> AppTest:
    monkeypatch.setattr(sys, "argv", [str(APP), str(storage)])
    app = AppTest.from_file(str(APP), default_timeout=30)
    for key, value in query.items():
        app.query_params[key] = value
    return app.run()


def chart(app: AppTest, position: int) -> dict[str, dict]:
    """The traces of a chart by name."""
    return {
        trace["name"]: trace for trace in json.loads(app.get("plotly_chart")[position].proto.spec)["data"]
    }


def decoded(values: dict) -> list[float]:
    return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).tolist()


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


@pytest.mark.parametrize("name", RUNS)
def test_every_edge_case_run_has_a_page(name, tmp_path, monkeypatch):
    build(tmp_path, name)
    app = open_app(monkeypatch, tmp_path)
    assert not app.exception
    assert app.selectbox(key="run").value == name
    assert len(app.dataframe) == bool(RUNS[name][0])
    assert all(element.proto.alt for element in [*app.get("plotly_chart"), *app.dataframe])


def test_no_runs_says_how_to_start_one(tmp_path, monkeypatch):
    for storage in (tmp_path, tmp_path / "missing"):
        app = open_app(monkeypatch, storage)
        assert "no run here yet" in app.info[0].value
        assert app.code[0].value == f"raysys tune --space digits --storage {storage}"


def test_a_run_without_finished_trials_says_so(tmp_path, monkeypatch):
    build(tmp_path, "failed-only")
    app = open_app(monkeypatch, tmp_path)
    assert "No trial has finished yet" in app.info[0].value
    assert "ValueError: boom" in app.code[0].value


def test_a_run_whose_trials_are_all_beyond_a_limit_says_so(tmp_path, monkeypatch):
    space = {"name": "digits", "limits": {"val_accuracy": 0.99}}
    write_run(tmp_path / "limited", [trial(0), trial(1)], space=space)
    app = open_app(monkeypatch, tmp_path)
    assert "beyond a limit" in app.info[0].value


def test_a_corrupt_run_is_told_and_others_stay_reachable(tmp_path, monkeypatch):
    build(tmp_path, "three")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    app = open_app(monkeypatch, tmp_path, run="broken")
    assert app.error[0].value == "This run cannot be read."
    assert "broken/run.json" in app.code[0].value
    app.selectbox(key="run").select("three").run()
    assert not app.error
    assert app.get("plotly_chart")


def test_only_runs_of_the_storage_can_be_named_in_the_address(tmp_path, monkeypatch):
    build(tmp_path / "storage", "three")
    build(tmp_path, "one")
    app = open_app(monkeypatch, tmp_path / "storage", run="../one")
    assert not app.exception
    assert app.selectbox(key="run").value == "three"


def test_the_header_tells_counts_spend_and_front(tmp_path, monkeypatch):
    build(tmp_path, "many")
    shown = metrics(open_app(monkeypatch, tmp_path))
    assert shown["Trials finished"] == "48 of 60"
    assert shown["Queries charged"] == "62,983"
    assert shown["Front"] == "12 points"


def test_the_page_opens_at_the_knee_and_follows_the_pick(tmp_path, monkeypatch):
    build(tmp_path, "three")
    app = open_app(monkeypatch, tmp_path)
    assert app.selectbox(key="trial").value == "u00001"
    app.selectbox(key="trial").select("u00002").run()
    assert decoded(chart(app, 1)["val accuracy"]["x"]) == [500, 1000, 1500]


def test_all_seeds_of_a_front_point_are_marked(tmp_path, monkeypatch):
    build(tmp_path, "seeds")
    table = open_app(monkeypatch, tmp_path).dataframe[0].value
    assert table["front"].tolist() == ["front"] * 4


def test_a_trial_in_the_address_is_shown_and_an_unknown_one_is_not(tmp_path, monkeypatch):
    build(tmp_path, "three")
    assert open_app(monkeypatch, tmp_path, trial="u00002").selectbox(key="trial").value == "u00002"
    assert open_app(monkeypatch, tmp_path, trial="u77777").selectbox(key="trial").value == "u00001"


def test_another_run_starts_at_its_own_trial(tmp_path, monkeypatch):
    build(tmp_path, "many")
    build(tmp_path, "one")
    app = open_app(monkeypatch, tmp_path, run="many", trial="u00042")
    app.selectbox(key="run").select("one").run()
    assert not app.exception
    assert app.selectbox(key="trial").value == "u00000"


def test_the_front_over_all_reports(tmp_path, monkeypatch):
    build(tmp_path, "three")
    app = open_app(monkeypatch, tmp_path, front="all reports")
    assert "reports" in chart(app, 0)


def test_the_page_stays_as_it_was_until_refresh(tmp_path, monkeypatch):
    layout = build(tmp_path, "running")
    app = open_app(monkeypatch, tmp_path)
    assert metrics(app)["Trials finished"] == "1 of 10"
    with RunWriter(layout) as writer:
        writer.trial(trial(3))
    app.run()
    assert metrics(app)["Trials finished"] == "1 of 10"
    app.button(key="refresh").click().run()
    assert metrics(app)["Trials finished"] == "2 of 10"
    assert not app.button
