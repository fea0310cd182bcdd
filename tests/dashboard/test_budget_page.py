"""The Budget page: what a budget of queries attains."""

import pytest
from dashboard_app import charts, decoded, open_page, texts, traces
from edge_runs import build, trial, write_run

from raysys.store.budgets import attainment_table, budget_table, curves, needed_table
from raysys.store.reader import read_run


def three_seeds(tmp_path):
    return [
        write_run(
            tmp_path / f"seed-{seed}",
            [trial(0, queries=100 + seed, val_accuracy=0.5), trial(1, val_accuracy=0.8 + seed / 20)],
            seed=seed,
        )
        for seed in range(3)
    ]


def tables(app):
    """The tables by name, in the order of the page."""
    names = ["needed-table", "attainment-table", "budget-table"]
    shown = [element.value for element in app.dataframe]
    return dict(zip(names if len(shown) == 3 else names[::2], shown, strict=True))


def test_one_run_is_a_line_without_a_band_which_is_said(tmp_path, monkeypatch):
    build(tmp_path, "priced")
    app = open_page(monkeypatch, tmp_path, "budget")
    line = traces(app, "budget-chart")["priced"]
    assert (decoded(line["x"]), decoded(line["y"])) == ([500, 500], [0.8, 0.8])
    assert "it takes at least 3 runs of one search" in texts(app)
    (row,) = tables(app)["budget-table"].to_dict("records")
    assert (row["budget"], row["uid"], row["queries"], row["cost"]) == (500, "u00000", 500, 5.0)
    assert "attainment-table" not in tables(app)


def test_three_seeds_are_a_median_and_the_tables_have_the_numbers_of_the_library(tmp_path, monkeypatch):
    found = curves([read_run(layout) for layout in three_seeds(tmp_path)])
    app = open_page(monkeypatch, tmp_path, "budget", run="seed-0")
    app.multiselect(key="vs").set_value(["seed-1", "seed-2"]).run()
    assert "seed-0 and 2 more seeds: 3 seeds (seed-0, seed-1, seed-2)" in texts(app)
    assert "seed-0 and 2 more seeds: 25-75 % of 3 seeds" in traces(app, "budget-chart")
    shown = tables(app)
    for key, rows in (("budget-table", budget_table(found)), ("attainment-table", attainment_table(found))):
        assert shown[key].equals(rows.to_pandas())
    assert shown["needed-table"].to_dict("records")[0]["attained"] == 1


def test_the_queries_for_a_score_are_asked_in_the_address(tmp_path, monkeypatch):
    found = curves([read_run(build(tmp_path, "many"))])
    app = open_page(monkeypatch, tmp_path, "budget", wanted="65")
    assert tables(app)["needed-table"].equals(needed_table(found, 0.65).to_pandas())
    app.number_input(key="wanted").set_value(99).run()
    (row,) = tables(app)["needed-table"].to_dict("records")
    assert (row["attained"], row["queries"]) == (0, pytest.approx(float("nan"), nan_ok=True))


def test_limits_of_the_frame_are_lines(tmp_path, monkeypatch):
    build(tmp_path, "three")
    app = open_page(monkeypatch, tmp_path, "budget", max_queries="900", min_score="85")
    shapes = charts(app)["budget-chart"]["layout"]["shapes"]
    assert {(shape["x0"], shape["y0"]) for shape in shapes} >= {(900, 0), (0, 0.85)}


def test_what_lies_beyond_the_limit_is_marked_and_what_the_search_spent_is_told(tmp_path, monkeypatch):
    build(tmp_path, "three")
    app = open_page(monkeypatch, tmp_path, "budget", max_queries="900", wanted="90")
    assert tables(app)["budget-table"]["max queries"].tolist() == ["within", "beyond", "beyond"]
    assert tables(app)["needed-table"]["max queries"].tolist() == ["beyond"]
    assert "three: the whole search has spent 3,000 queries on 3 trials" in texts(app)


def test_a_row_leads_to_its_trial(tmp_path, monkeypatch):
    build(tmp_path, "three")
    app = open_page(monkeypatch, tmp_path, "budget")
    app.session_state["budget-table"] = {"selection": {"rows": [1]}}
    app.run()
    assert app.selectbox(key="trial").value == "u00001"


def test_runs_that_cannot_be_compared_are_named_and_left_out(tmp_path, monkeypatch):
    for name in ("no labels", "three"):
        build(tmp_path, name)
    app = open_page(monkeypatch, tmp_path, "budget", run="three", vs="no labels")
    assert "cannot be compared" in app.warning[0].value
    assert "different teachers" in app.code[0].value
    assert "no labels" not in traces(app, "budget-chart")


def test_no_student_yet_says_what_to_do(tmp_path, monkeypatch):
    build(tmp_path, "failed-only")
    app = open_page(monkeypatch, tmp_path, "budget")
    assert "no student with a score yet" in app.info[0].value
    assert not charts(app)
    app = open_page(monkeypatch, tmp_path, "budget", front="all reports")
    assert "budget-chart" in charts(app)
