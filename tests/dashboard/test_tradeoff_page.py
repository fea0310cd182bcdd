"""The Trade-off page: its numbers are those of `raysys front`."""

import csv
import io
import json
import math

import pytest
import yaml
from dashboard_app import charts, decoded, open_page, texts, traces
from edge_runs import build, trial, write_run
from streamlit.runtime.media_file_manager import MediaFileManager

from raysys.cli.app import main

LIMITS = {
    "none": ({}, []),
    "queries": ({"max_queries": "1000"}, ["--max-queries", "1000"]),
    "score": ({"min_score": "60"}, ["--min-accuracy", "0.6"]),
    "hours": ({"max_hours": "0.01"}, ["--max-seconds", "36"]),
    "reports": (
        {"front": "all reports", "max_queries": "900"},
        ["--kind", "anytime", "--max-queries", "900"],
    ),
}


def told_by_front(capsys, root, *options):
    assert main(["front", str(root), *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("name", ["three", "many", "seeds", "no labels", "three objectives", "priced"])
def test_the_table_has_the_numbers_of_the_command(name, limits, tmp_path, monkeypatch, capsys):
    root = build(tmp_path, name).root
    query, options = LIMITS[limits]
    points = told_by_front(capsys, root, *options)["points"]
    app = open_page(monkeypatch, tmp_path, "tradeoff", **query)
    assert not app.exception
    if not points:
        assert "None of the" in app.info[0].value
        return
    rows = app.dataframe[0].value.to_dict("records")
    score = "agreement" if name == "no labels" else "val_accuracy"
    columns = {
        "uid": "uid", "seeds": "seeds", "queries": "queries", "seconds": "seconds", "knee": "knee",
        "score": score, "score_std": f"{score}_std",
        "test": score.replace("val_accuracy", "test_accuracy").replace("agreement", "test_agreement"),
    }  # fmt: skip
    columns["test_std"] = f"{columns['test']}_std"
    assert len(rows) == len(points)
    for row, point in zip(rows, points, strict=True):
        for shown, told in columns.items():
            if shown in row and not (isinstance(row[shown], float) and math.isnan(row[shown])):
                assert row[shown] == point[told]
            else:
                assert point[told] is None
        assert row["g_steps"] == point["config"]["g_steps"]
        if name == "priced":
            assert row["cost"] == pytest.approx(0.01 * point["queries"])
    drawn = traces(app, "front-chart")["front"]
    assert sorted(decoded(drawn["x"])) == [point["queries"] for point in points]
    assert sorted(decoded(drawn["y"])) == sorted(point[score] for point in points)
    assert [one[0] for one in drawn["customdata"]] == [point["uid"] for point in points]
    assert f"{told_by_front(capsys, root)['hypervolume']:.4f}" in texts(app) or limits == "reports"


def test_the_card_tells_the_best_and_the_cheapest_and_how_to_get_them(tmp_path, monkeypatch, capsys):
    layout = build(tmp_path, "many")
    told = told_by_front(capsys, layout.root, "--max-queries", "1000", "--min-accuracy", "0.6")["points"]
    (best,) = (point for point in told if point["best"])
    (cheapest,) = (point for point in told if point["cheapest"])
    layout.students(best["uid"]).mkdir(parents=True)
    app = open_page(monkeypatch, tmp_path, "tradeoff", max_queries="1000", min_score="60")
    assert f"{best['uid']}: {best['val_accuracy']:.2%} for {best['queries']:,} queries" in texts(app)
    assert f"{cheapest['uid']}: {cheapest['val_accuracy']:.2%}" in texts(app)
    code = [element.value for element in app.code]
    export = f"raysys export {layout.root} --student {best['uid']} -o student-{best['uid']}"
    assert f"raysys trial --from {layout.root}:{best['uid']}\n{export}" in code
    assert f"raysys trial --from {layout.root}:{cheapest['uid']}" in code
    assert best["config"] in [yaml.safe_load(text) for text in code]
    app = open_page(monkeypatch, tmp_path, "tradeoff", config_form="JSON", max_queries="1000")
    assert best["config"] in [json.loads(one.value) for one in app.code if one.value.startswith("{")]


def test_the_card_tells_each_kept_students_own_score(tmp_path, monkeypatch):
    layout = build(tmp_path, "seeds")
    for uid in ("u00001", "u00003"):
        layout.students(uid).mkdir(parents=True)
    app = open_page(monkeypatch, tmp_path, "tradeoff", min_score="60")
    told = texts(app)
    assert "u00001: 91.00% ± 2.83 for 1,000 queries" in told
    assert "u00001, this student: 89.00%, 1,000 queries" in told
    assert "u00003, this student: 93.00%, 1,000 queries" in told
    assert f"raysys export {layout.root} --student u00003 -o student-u00003" in told
    assert "u00000, this student: 80.00%, 70.00% on test, 500 queries" in told
    assert "Weights are kept of 0 of 2 of its students." in told


def test_one_point_has_one_card_and_runs_beside_it_are_told(tmp_path, monkeypatch):
    for name in ("one", "three", "seeds"):
        build(tmp_path, name)
    app = open_page(monkeypatch, tmp_path, "tradeoff", run="three", max_queries="1000")
    assert "Best val accuracy, and knee" in texts(app)
    assert "Of run three:" in texts(app)
    app.multiselect(key="vs").set_value(["one", "seeds"])
    app.number_input(key="max-queries").set_value(800).run()
    rows = next(one.value for one in app.dataframe if "of each of 3 runs" in one.proto.alt)
    assert rows["run"].tolist() == ["three", "one", "seeds"]
    assert rows["score"].tolist() == pytest.approx([0.8, 0.8, 0.85])
    app.number_input(key="max-queries").set_value(400).run()
    rows = next(one.value for one in app.dataframe if "of each of 3 runs" in one.proto.alt)
    assert rows["uid"].isna().all()


def test_no_front_within_limits_and_none_at_all_say_what_to_do(tmp_path, monkeypatch):
    build(tmp_path, "three")
    app = open_page(monkeypatch, tmp_path, "tradeoff", max_queries="10")
    assert "None of the 3 points of the front is within the limits" in app.info[0].value
    assert not app.dataframe
    build(tmp_path, "failed-only")
    app = open_page(monkeypatch, tmp_path, "tradeoff", run="failed-only")
    assert "choose 'all reports'" in app.info[0].value
    assert not charts(app)


def test_controls_are_in_the_address_and_change_the_chart(tmp_path, monkeypatch):
    build(tmp_path, "many")
    app = open_page(
        monkeypatch,
        tmp_path,
        "tradeoff",
        points="front only",
        colour="g_steps",
        histograms="true",
        pin="u00004",
    )
    drawn = traces(app, "front-chart")
    assert "dominated" not in drawn and "stopped" not in drawn
    assert {"points over queries", "points over score", "pinned"} <= set(drawn)
    assert charts(app)["front-chart"]["layout"]["coloraxis"]["colorbar"]["title"]["text"] == "g_steps"
    app.selectbox(key="points").select("all")
    app.toggle(key="linear").set_value(True).run()
    assert "dominated" in traces(app, "front-chart")
    assert charts(app)["front-chart"]["layout"]["xaxis"]["type"] == "linear"


def test_other_runs_are_overlaid_unless_they_cannot_be_compared(tmp_path, monkeypatch):
    for name in ("three", "seeds", "no labels"):
        build(tmp_path, name)
    app = open_page(monkeypatch, tmp_path, "tradeoff", run="three", vs="seeds")
    assert {"front of three", "seeds"} <= set(traces(app, "front-chart"))
    app.multiselect(key="vs").set_value(["seeds", "no labels"]).run()
    assert "no labels" not in traces(app, "front-chart")
    assert "cannot be compared" in texts(app)
    assert app.selectbox(key="run").value == "three"


def test_three_dimensions_need_three_objectives_and_cannot_be_clicked(tmp_path, monkeypatch):
    build(tmp_path, "three objectives")
    app = open_page(monkeypatch, tmp_path, "tradeoff", dimensions="3D")
    assert len(decoded(traces(app, "front-3d-chart")["front"]["z"])) == 4
    assert "pick a trial in the table" in texts(app)
    build(tmp_path, "three")
    app = open_page(monkeypatch, tmp_path, "tradeoff", run="three", dimensions="3D")
    assert set(charts(app)) == {"front-chart"}


@pytest.mark.parametrize("key", ["front-chart", "front-table"])
def test_what_is_picked_leads_to_its_trial(key, tmp_path, monkeypatch):
    build(tmp_path, "seeds")
    app = open_page(monkeypatch, tmp_path, "tradeoff")
    second = {"customdata": ["u00001", ", mean of 2 seeds", ""]}
    other = {"customdata": ["", "u00000"]}
    picked = {"points": [{}, other, second]} if key == "front-chart" else {"rows": [1]}
    app.session_state[key] = {"selection": picked}
    app.run()
    assert not app.exception
    assert app.selectbox(key="trial").value == "u00001"


def test_the_download_is_the_commands_file(tmp_path, monkeypatch):
    found = {}
    keep = MediaFileManager.add_deferred

    def add_deferred(self, make, mimetype, coordinates, file_name, **options):
        found[file_name] = make
        return keep(self, make, mimetype, coordinates, file_name, **options)

    monkeypatch.setattr(MediaFileManager, "add_deferred", add_deferred)
    write_run(tmp_path / "run", [trial(n) for n in range(3)])
    open_page(monkeypatch, tmp_path, "tradeoff", max_queries="1200")
    words = ["export", str(tmp_path / "run"), "--what", "front", "--max-queries", "1200"]
    assert main([*words, "-o", str(tmp_path / "front.csv")]) == 0
    content = found["run-front.csv"]()
    assert content == (tmp_path / "front.csv").read_bytes()
    assert [row["uid"] for row in csv.DictReader(io.StringIO(content.decode()))] == ["u00000", "u00001"]
