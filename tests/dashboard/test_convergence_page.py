import re

import pytest
from dashboard_app import charts, decoded, open_page, texts, traces
from edge_runs import RUNS, book, build, report, trial, write_run

from raysys.fronts.hypervolume import Reference
from raysys.records import TrialStatus
from raysys.store.points import history_json, run_front
from raysys.store.reader import read_run, reports_of
from raysys.store.schema import reports_table

PAGE = "convergence"


def rows(app, column):
    """The rows of the table that has this column."""
    tables = [one.value for one in app.dataframe]
    return next(one for one in tables if column in one.columns).to_dict("records")


def test_the_numbers_are_those_of_the_command(tmp_path, monkeypatch):
    layout = build(tmp_path, "many")
    run = read_run(layout)
    app = open_page(monkeypatch, tmp_path, PAGE)
    line = traces(app, "growth-hypervolume-chart")["many"]
    told = history_json(run)
    found = dict(zip(decoded(line["x"]), decoded(line["y"]), strict=True))
    assert found.items() >= {one["ended"]: one["hypervolume"] for one in told["history"]}.items()
    (row,) = rows(app, "hypervolume")
    assert row["hypervolume"] == pytest.approx(run_front(run).hypervolume)
    assert row["front"] == len(run_front(run).members)
    assert (row["ended"], row["queries"]) == (told["ended"], told["queries"])
    assert "10.0% val accuracy at 2,000 queries" in texts(app)


def test_the_axis_is_picked_and_in_the_address(tmp_path, monkeypatch):
    build(tmp_path, "many")
    run = read_run(tmp_path / "many")
    app = open_page(monkeypatch, tmp_path, PAGE, over="queries")
    assert decoded(traces(app, "growth-front-chart")["many"]["x"])[-1] == history_json(run)["queries"]
    app.get_by_key("over").set_value("hours").run()
    assert decoded(traces(app, "growth-hypervolume-chart")["many"]["x"])[-1] < 1
    assert "USD" not in app.get_by_key("over").options


def test_a_priced_run_is_drawn_over_its_cost(tmp_path, monkeypatch):
    build(tmp_path, "three")
    build(tmp_path, "priced")
    app = open_page(monkeypatch, tmp_path, PAGE, run="priced", vs="three", over="USD")
    assert decoded(traces(app, "growth-hypervolume-chart")["priced"]["x"]) == [5, 20]
    assert "three is left out: its space has no price" in texts(app)


def test_another_reference_is_said_to_be_another(tmp_path, monkeypatch):
    build(tmp_path, "three")
    app = open_page(monkeypatch, tmp_path, PAGE)
    own = rows(app, "hypervolume")[0]["hypervolume"]
    assert not app.warning
    app.number_input(key="reference-score").set_value(50).run()
    assert "not comparable with `raysys front`" in app.warning[0].value
    assert "50.0% val accuracy at 2,000 queries" in texts(app)
    assert rows(app, "hypervolume")[0]["hypervolume"] != own
    app.number_input(key="reference-score").set_value(10).run()
    assert not app.warning
    assert rows(app, "hypervolume")[0]["hypervolume"] == own


def test_a_run_with_another_reference_is_named_and_left_out_until_they_have_one(tmp_path, monkeypatch):
    build(tmp_path, "three")
    build(tmp_path, "many")
    records, _ = RUNS["three"]
    write_run(tmp_path / "other", records, reference=Reference(accuracy=0.1, queries=9000))
    app = open_page(monkeypatch, tmp_path, PAGE, run="three", vs="other")
    app.multiselect(key="vs").set_value(["other", "many"]).run()
    assert set(traces(app, "growth-hypervolume-chart")) == {"three", "many"}
    assert "other is left out: its reference point is 10.0% at 9,000 queries" in texts(app)
    app.number_input(key="reference-queries").set_value(5000).run()
    assert set(traces(app, "growth-hypervolume-chart")) == {"three", "many", "other"}
    assert [row["run"] for row in rows(app, "hypervolume")] == ["three", "other", "many"]


def test_each_objective_has_its_spread_over_the_runs(tmp_path, monkeypatch):
    build(tmp_path, "many")
    build(tmp_path, "three objectives")
    app = open_page(monkeypatch, tmp_path, PAGE, run="three objectives", vs="many")
    keys = [key for key in charts(app) if key.startswith("spread-")]
    assert keys == [f"spread-{name}-chart" for name in ("val_accuracy", "queries", "seconds")]
    assert set(traces(app, keys[0])) == {"three objectives (n = 4)", "many (n = 48)"}


def test_without_a_ledger_the_timeline_says_what_it_is(tmp_path, monkeypatch):
    build(tmp_path, "three")
    app = open_page(monkeypatch, tmp_path, PAGE)
    assert "laid end to end" in texts(app)
    assert "laid end to end" in charts(app)["timeline-chart"]["layout"]["xaxis"]["title"]["text"]


def test_a_ledger_tells_when_trials_worked(tmp_path, monkeypatch):
    book(build(tmp_path, "three"))
    app = open_page(monkeypatch, tmp_path, PAGE)
    assert "the latest 3 of 3" in texts(app)
    title = charts(app)["timeline-chart"]["layout"]["xaxis"]["title"]["text"]
    assert re.match(r"seconds since 20\d\d-", title)


def test_a_damaged_ledger_is_told_and_the_rest_is_shown(tmp_path, monkeypatch):
    layout = build(tmp_path, "three")
    book(layout)
    (layout.ledger / "journal.jsonl").write_text("00000000 {}\n")
    app = open_page(monkeypatch, tmp_path, PAGE)
    assert "The ledger cannot be read." in [one.value for one in app.warning]
    assert "laid end to end" in texts(app)
    assert {"growth-hypervolume-chart", "timeline-chart"} <= charts(app).keys()


def test_early_stopping_tells_who_survived_and_what_was_saved(tmp_path, monkeypatch):
    records = [trial(0, queries=800), trial(1, TrialStatus.STOPPED, queries=200, val_accuracy=0.3)]
    for record in records:
        record.config.options["query_budget"] = 800
    layout = write_run(tmp_path / "run", records, scheduler="query-asha", milestones=(200, 400))
    reports_of(layout).replace(
        reports_table(
            [
                report(0, 0, queries=200, val_accuracy=0.6, milestone=True),
                report(0, 1, queries=400, val_accuracy=0.7, milestone=True),
                report(1, 0, queries=200, val_accuracy=0.3, milestone=True),
            ]
        ),
        1,
    )
    app = open_page(monkeypatch, tmp_path, PAGE)
    assert "Stopped trials: 1; queries of their budgets that were not spent: 600." in texts(app)
    first, second = rows(app, "reached")
    assert (first["queries"], first["reached"], first["went on"], first["stopped"]) == (200, 2, 1, 1)
    assert first["median val accuracy, stopped"] == pytest.approx(0.3)
    assert second["stopped"] == 0
    assert decoded(traces(app, "rungs-chart")["stopped"]["y"]) == [1, 0]


def test_without_a_scheduler_it_says_so(tmp_path, monkeypatch):
    build(tmp_path, "three")
    assert "The scheduler is off" in texts(open_page(monkeypatch, tmp_path, PAGE))


def test_before_a_trial_ended_it_says_what_is_missing(tmp_path, monkeypatch):
    build(tmp_path, "none")
    app = open_page(monkeypatch, tmp_path, PAGE)
    assert "No trial has ended yet" in app.info[0].value
    assert not charts(app)


def test_without_a_finished_trial_there_is_no_spread(tmp_path, monkeypatch):
    build(tmp_path, "failed-only")
    app = open_page(monkeypatch, tmp_path, PAGE)
    assert "No trial has finished yet." in [one.value for one in app.info]
    assert rows(app, "hypervolume")[0]["hypervolume"] == 0
