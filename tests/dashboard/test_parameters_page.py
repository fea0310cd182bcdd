import json
from dataclasses import replace

import numpy as np
import pytest
from dashboard_app import charts, decoded, open_page, texts, traces
from edge_runs import SPACE, build, searched, write_run
from search_runs import SPACE as CONDITIONAL
from search_runs import finished

from raysys.cli.app import main
from raysys.space.load import to_json

PAGE = "parameters"


def rows(app, column):
    """The rows of the table that has this column."""
    tables = [one.value for one in app.dataframe]
    return next(one for one in tables if column in one.columns).to_dict("records")


def test_the_numbers_are_those_of_raysys_importance(tmp_path, monkeypatch, capsys):
    build(tmp_path, "searched")
    assert main(["importance", str(tmp_path / "searched"), "--json"]) == 0
    told = {row["name"]: row for row in json.loads(capsys.readouterr().out)["parameters"]}
    app = open_page(monkeypatch, tmp_path, PAGE)
    shown = rows(app, "advice")
    assert [row["parameter"] for row in shown] == [name for name in told if name != "depth"]
    for row in shown:
        expected = told[row["parameter"]]
        assert row["decides val accuracy"] == pytest.approx(expected["importance"]["val_accuracy"])
        assert row["decides queries"] == pytest.approx(expected["importance"]["queries"])
        assert (row["advice"], row["why"]) == (expected["advice"], expected["why"])
        assert row["trials"] == expected["trials"]
    bars = traces(app, "importance-chart")["val accuracy (n = 40)"]
    for name, share in zip(bars["y"], decoded(bars["x"]), strict=True):
        assert share == pytest.approx(told[name]["importance"]["val_accuracy"])
    assert "Correlational" in texts(app)
    assert "Left out, since the same in all trials: depth" in texts(app)


def test_the_most_important_come_first_and_others_can_be_picked(tmp_path, monkeypatch):
    build(tmp_path, "searched")
    app = open_page(monkeypatch, tmp_path, PAGE)
    order = [row["parameter"] for row in rows(app, "advice")]
    assert order[0] == "passes"
    assert app.multiselect(key="parameters").value == order[:4]
    app.multiselect(key="parameters").set_value(["lr_sgd"]).run()
    assert [key for key in charts(app) if key.startswith("slice-")] == ["slice-lr_sgd-chart"]
    axis = charts(app)["slice-lr_sgd-chart"]["layout"]["xaxis"]
    assert (axis["type"], axis["title"]["text"]) == ("log", "lr_sgd")
    lines = charts(app)["parallel-chart"]["data"][0]["dimensions"]
    assert [one["label"] for one in lines] == ["lr_sgd", "val accuracy", "queries"]
    assert {"uid", "on the front", "lr_sgd"} <= rows(app, "on the front")[0].keys()


def test_the_address_says_what_is_shown(tmp_path, monkeypatch):
    build(tmp_path, "searched")
    app = open_page(
        monkeypatch,
        tmp_path,
        PAGE,
        parameters="optimizer",
        slices="queries",
        map_x="optimizer",
        map_y="lr_sgd",
    )
    layout = charts(app)["slice-optimizer-chart"]["layout"]
    assert layout["yaxis"]["type"] == "log"
    assert layout["xaxis"]["ticktext"] == ["sgd", "adamw"]
    assert app.selectbox(key="map-x").value == "optimizer"
    assert charts(app)["map-chart"]["layout"]["yaxis"]["title"]["text"] == "lr_sgd"


def test_the_map_needs_two_different_parameters(tmp_path, monkeypatch):
    build(tmp_path, "searched")
    app = open_page(monkeypatch, tmp_path, PAGE, map_x="passes", map_y="passes")
    assert "Pick two different parameters." in [one.value for one in app.info]
    app.selectbox(key="map-y").select("optimizer").run()
    counts = np.array(decoded(charts(app)["map-chart"]["data"][0]["z"]))
    assert counts.size == 10


def test_parameters_that_no_trial_has_both_have_no_map(tmp_path, monkeypatch):
    write_run(tmp_path / "run", finished(20), space=to_json(CONDITIONAL))
    app = open_page(monkeypatch, tmp_path, PAGE, map_x="lr_sgd", map_y="lr_adamw")
    assert "exclude each other" in app.info[-1].value
    assert "map-chart" not in charts(app)


def test_a_row_of_the_table_opens_its_trial(tmp_path, monkeypatch):
    build(tmp_path, "searched")
    app = open_page(monkeypatch, tmp_path, PAGE)
    uid = rows(app, "on the front")[1]["uid"]
    app.session_state["parallel-table"] = {"selection": {"rows": [1], "columns": [], "cells": []}}
    app.run()
    assert app.header[0].value == "Trial"
    assert app.query_params["trial"] == uid


def test_few_trials_have_ranges_but_no_importance(tmp_path, monkeypatch):
    write_run(tmp_path / "run", searched(4), space=to_json(SPACE))
    app = open_page(monkeypatch, tmp_path, PAGE)
    assert "needs 10 finished trials, there are 4" in texts(app)
    assert "importance-chart" not in charts(app)
    assert all("are needed" in row["why"] for row in rows(app, "advice"))


@pytest.mark.parametrize("count", [0, 1])
def test_a_run_that_has_just_begun_says_what_it_needs(count, tmp_path, monkeypatch):
    write_run(tmp_path / "run", searched(count), space=to_json(SPACE))
    app = open_page(monkeypatch, tmp_path, PAGE)
    assert f"there are {count} yet" in app.info[0].value
    assert not charts(app)


def test_a_run_that_searches_nothing_says_so(tmp_path, monkeypatch):
    fixed = SPACE.model_copy(update={"parameters": {}})
    records = [
        replace(one, config=replace(one.config, options={"query_budget": 500})) for one in searched(12)
    ]
    write_run(tmp_path / "run", records, space=to_json(fixed))
    app = open_page(monkeypatch, tmp_path, PAGE)
    assert app.info[0].value == "This run searches no parameter: its space fixes them all."


def test_a_space_that_is_not_whole_is_told(tmp_path, monkeypatch):
    build(tmp_path, "three")
    app = open_page(monkeypatch, tmp_path, PAGE)
    assert "no whole space" in app.info[0].value
    assert "manifest" in texts(app)
