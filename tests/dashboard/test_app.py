import sys
from pathlib import Path

import pytest
from edge_runs import RUNS, build
from streamlit.testing.v1 import AppTest

APP = Path(__file__).parents[2] / "dashboard" / "app.py"


def open_app(monkeypatch: pytest.MonkeyPatch, storage: Path, **query: str) -> AppTest:
    monkeypatch.setattr(sys, "argv", [str(APP), str(storage)])
    app = AppTest.from_file(str(APP), default_timeout=30)
    for key, value in query.items():
        app.query_params[key] = value
    return app.run()


@pytest.mark.parametrize("name", RUNS)
def test_every_edge_case_run_has_a_page(name, tmp_path, monkeypatch):
    build(tmp_path, name)
    app = open_app(monkeypatch, tmp_path)
    assert not app.exception
    assert app.selectbox(key="run").value == name
    charts = app.get("plotly_chart")
    assert charts
    assert all(chart.proto.alt for chart in charts)
