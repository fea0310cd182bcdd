import numpy as np
import pytest
from dashboard_app import charts, decoded, open_page, texts, traces
from edge_runs import build

from raysys.store.curves import bands
from raysys.store.reader import read_run


@pytest.fixture
def many(tmp_path):
    return build(tmp_path, "many")


def test_bands_of_all_trials_and_lines_of_the_front(many, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "curves")
    spread = bands(read_run(many), "queries", "val_accuracy")
    shown = traces(app, "curves-chart")
    np.testing.assert_allclose(decoded(shown["median of all trials"]["y"]), spread.quantiles[2])
    assert any(name.startswith("front (") for name in shown)
    assert "quantiles over 60 trials" in texts(app)


def test_pinned_trials_are_drawn_and_told(many, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "curves")
    app.multiselect(key="pin").select("u00004").run()
    assert "pinned" in traces(app, "curves-chart")
    assert "1 pinned" in texts(app)
    assert "u00004" in app.dataframe[0].value["uid"].tolist()


def test_axis_curve_and_smoothing_can_be_picked(many, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "curves")
    app.segmented_control(key="curves-over").select("step").run()
    assert charts(app)["curves-chart"]["layout"]["xaxis"]["title"]["text"] == "step of the trial"
    app.selectbox(key="curve").select("loss.cross_entropy").run()
    assert charts(app)["curves-chart"]["layout"]["yaxis"]["title"]["text"] == "cross_entropy loss"
    app.segmented_control(key="smooth").select("of 3").run()
    assert "front, raw" in traces(app, "curves-chart")


def test_a_run_without_reports_says_so(tmp_path, monkeypatch):
    build(tmp_path, "none")
    assert "No trial has reported yet" in open_page(monkeypatch, tmp_path, "curves").info[0].value
