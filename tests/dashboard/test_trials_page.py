import pytest
from dashboard_app import charts, open_page, texts, traces
from edge_runs import build, trial, write_run

from raysys.records import TrialStatus
from raysys.store.reader import read_run
from raysys.store.trial_list import trial_list


@pytest.fixture
def many(tmp_path):
    return build(tmp_path, "many")


def shown(app):
    return app.dataframe[0].value


def select(app, *rows):
    app.session_state[app.dataframe[0].key] = {"selection": {"rows": list(rows)}}
    return app.run()


def test_the_table_is_what_the_list_tells(many, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "trials")
    table = trial_list(read_run(many))
    assert shown(app)["uid"].tolist() == table["uid"].to_pylist()
    assert shown(app)["queries"].tolist() == table["queries"].to_pylist()
    assert shown(app)["layer"].dropna().tolist() == table["layer"].drop_null().to_pylist()
    assert shown(app)["curve"].map(len).tolist() == [3] * 60
    assert "schedule" not in shown(app).columns
    assert "g_steps" in shown(app).columns
    assert "60 of 60 trials" in texts(app)


def test_filters_of_the_address_leave_some(many, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "trials", run="many")
    app.multiselect(key="states").select("stopped").run()
    assert set(shown(app)["state"]) == {"stopped"}
    app.text_input(key="find").set_value("u0000").run()
    assert shown(app)["uid"].tolist() == ["u00004", "u00009"]
    app.toggle(key="on-front").set_value(True).run()
    assert "No trial matches" in app.info[0].value
    assert not app.dataframe


def test_a_find_that_cannot_be_is_told_and_what_was_meant(many, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "trials", find="lr>0.1")
    assert "cannot be looked for" in app.error[0].value
    assert "NAME>NUMBER" in app.code[0].value
    app.text_input(key="find").set_value("g_steps=10").run()
    assert shown(app)["uid"].tolist() == ["u00000"]
    assert app.download_button(key="trials-csv").label == "CSV of 1 trial"


def test_sorting(many, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "trials")
    app.selectbox(key="sort").select("val_accuracy")
    app.toggle(key="descending").set_value(True).run()
    reached = shown(app)["val_accuracy"].tolist()
    assert reached == sorted(reached, reverse=True)


def test_selected_rows_are_compared_and_pinned_whatever_the_order(many, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "trials")
    assert app.button(key="pin-selected").disabled
    app.selectbox(key="sort").select("queries").run()
    uids = shown(app)["uid"].tolist()
    select(app, 0, 2)
    assert {uids[0], uids[2]} <= set(traces(app, "selected-chart"))
    app.button(key="pin-selected").click().run()
    assert app.multiselect(key="pin").value == [uids[0], uids[2]]
    select(app, 5)
    app.button(key="pin-selected").click().run()
    assert app.multiselect(key="pin").value == [uids[0], uids[2], uids[5]]


def test_a_selection_does_not_outlive_the_rows_that_it_was_of(many, tmp_path, monkeypatch):
    app = select(open_page(monkeypatch, tmp_path, "trials"), 1)
    assert "selected-chart" in charts(app)
    app.toggle(key="on-front").set_value(True).run()
    assert "selected-chart" not in charts(app)


def test_more_than_can_be_pinned_drops_the_oldest(many, tmp_path, monkeypatch):
    app = select(open_page(monkeypatch, tmp_path, "trials", pin="u00059"), *range(12))
    app.button(key="pin-selected").click().run()
    assert app.multiselect(key="pin").value == [f"u{n:05d}" for n in range(12)]


def test_a_trial_can_be_opened_from_the_list_or_by_its_row(many, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "trials")
    app.selectbox(key="open-trial").select("u00007").run()
    assert app.header[0].value == "Trial"
    assert app.selectbox(key="trial").value == "u00007"
    app = select(open_page(monkeypatch, tmp_path, "trials"), 3)
    app.button(key="open-selected").click().run()
    assert app.selectbox(key="trial").value == "u00003"


def test_a_thousand_trials_a_page(tmp_path, monkeypatch):
    write_run(tmp_path / "large", [trial(n, val_accuracy=0.5) for n in range(1003)], steps=1)
    app = open_page(monkeypatch, tmp_path, "trials")
    assert len(shown(app)) == 1000
    assert app.dataframe[0].proto.alt.startswith("Trials 1 to 1,000 of 1,003")
    app = open_page(monkeypatch, tmp_path, "trials")
    app.session_state["trials-page"] = 2
    app.run()
    assert shown(app)["uid"].tolist() == ["u01000", "u01001", "u01002"]


def test_errors_and_prices_are_listed(tmp_path, monkeypatch):
    build(tmp_path, "failed-only")
    assert shown(open_page(monkeypatch, tmp_path, "trials"))["error"].tolist() == ["ValueError: boom $x$"] * 3
    build(tmp_path, "priced")
    assert shown(open_page(monkeypatch, tmp_path, "trials", run="priced"))["USD"].tolist() == [5, 10, 15]


def test_a_run_without_trials_says_so(tmp_path, monkeypatch):
    build(tmp_path, "none")
    assert "No trial has begun yet" in open_page(monkeypatch, tmp_path, "trials").info[0].value


def test_a_trial_that_runs_without_a_report_has_no_curve(tmp_path, monkeypatch):
    write_run(tmp_path / "run", [trial(0, TrialStatus.RUNNING, val_accuracy=None)], steps=0)
    assert shown(open_page(monkeypatch, tmp_path, "trials"))["curve"].tolist() == [None]
