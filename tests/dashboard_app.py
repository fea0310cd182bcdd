"""The dashboard driven without a browser, and what its elements show; shared by the tests of its pages."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).parents[1] / "dashboard" / "app.py"

PAGES = sorted(path.stem for path in APP.with_name("views").glob("*.py"))


def open_page(
    monkeypatch: pytest.MonkeyPatch, storage: Path, page: str = "overview", **query: str
) -> AppTest:
    """The page `page` over the runs in `storage`; `query` is the address (`max_queries` is `max-queries`)."""
    monkeypatch.setattr(sys, "argv", [str(APP), str(storage)])
    app = AppTest.from_file(str(APP), default_timeout=60)
    for key, value in query.items():
        app.query_params[key.replace("_", "-")] = value
    app.run()
    return app if page == "overview" else app.switch_page(f"views/{page}.py").run()


def charts(app: AppTest) -> dict[str, Any]:
    """The plotly charts by their key: figures as JSON data."""
    return {chart.key: json.loads(chart.proto.spec) for chart in app.get("plotly_chart")}


def traces(app: AppTest, key: str) -> dict[str, dict[str, Any]]:
    """The traces of the chart `key` by name."""
    return {trace["name"]: trace for trace in charts(app)[key]["data"]}


def decoded(values: Any) -> list[float]:
    """Numbers of a trace: as plotly sends an array, or a list."""
    if isinstance(values, list):
        return values
    return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).tolist()


def texts(app: AppTest) -> str:
    """All that the page says in words."""
    kinds = (
        "header",
        "subheader",
        "caption",
        "text",
        "markdown",
        "info",
        "warning",
        "error",
        "success",
        "code",
    )
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def metrics(app: AppTest) -> dict[str, str]:
    """Metrics by label."""
    return {metric.label: metric.value for metric in app.metric}
