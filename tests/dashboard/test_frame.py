"""What the sidebar says, and what becomes of it when another run is picked."""

import shutil

import pytest
from dashboard_app import open_page, texts
from edge_runs import RUNS, build, write_run

from raysys.fronts.objectives import SECONDS


@pytest.fixture
def storage(tmp_path):
    for name in ("three", "many", "three objectives", "no labels"):
        build(tmp_path, name)
    return tmp_path


def objectives(app):
    return [one.name for one in app.session_state["view"].run.manifest.objectives]


def test_another_run_leaves_pins_behind_and_is_not_compared_with_itself(storage, monkeypatch):
    app = open_page(monkeypatch, storage, run="three", vs="many", pin="u00001", max_queries="900")
    assert app.multiselect(key="pin").value == ["u00001"]
    app.selectbox(key="run").select("many").run()
    assert app.multiselect(key="pin").value == []
    assert app.multiselect(key="vs").value == []
    assert app.number_input(key="max-queries").value == 900


def test_each_run_is_seen_as_it_was_searched_unless_objectives_are_picked(storage, monkeypatch):
    app = open_page(monkeypatch, storage, run="three")
    assert objectives(app) == ["val_accuracy", "queries"]
    app.selectbox(key="run").select("three objectives").run()
    assert objectives(app) == ["val_accuracy", "queries", "seconds"]
    app.selectbox(key="run").select("no labels").run()
    assert objectives(app) == ["agreement", "queries"]
    app.selectbox(key="third").select(SECONDS.name).run()
    assert objectives(app) == ["agreement", "queries", "seconds"]
    app.selectbox(key="run").select("three objectives").run()
    app.selectbox(key="third").select("none").run()
    assert objectives(app) == ["val_accuracy", "queries"]


def test_a_score_that_a_run_lacks_is_not_kept(storage, monkeypatch):
    app = open_page(monkeypatch, storage, run="three", score="val accuracy")
    assert app.selectbox(key="score").value == "val_accuracy"
    app.selectbox(key="run").select("no labels").run()
    assert app.selectbox(key="score").value == "as searched"
    assert objectives(app) == ["agreement", "queries"]


def test_nonsense_in_the_address_falls_back(storage, monkeypatch):
    app = open_page(
        monkeypatch, storage, run="nobody", vs="nobody", front="x", score="y", third="z", pin="u99999",
        max_queries="-1", min_score="nan", max_hours="inf",
    )  # fmt: skip
    assert not app.exception
    view = app.session_state["view"]
    assert (view.others, view.kind, view.pins) == ((), "final", ())
    assert (view.limits.queries, view.limits.score, view.limits.seconds) == (None, None, None)


def test_cost_is_a_limit_where_queries_have_a_price(storage, monkeypatch):
    build(storage, "priced")
    app = open_page(monkeypatch, storage, run="priced", max_cost="5", max_queries="800")
    assert app.session_state["view"].limits.queries == 500
    app.selectbox(key="run").select("three").run()
    assert app.session_state["view"].limits.queries == 800
    assert "max-cost" not in [one.key for one in app.number_input]


def test_runs_are_picked_by_their_space_where_there_are_several(storage, monkeypatch):
    write_run(storage / "other", RUNS["three"][0], space={"name": "mnist"})
    app = open_page(monkeypatch, storage, run="three", vs="other", pin="u00001")
    assert app.selectbox(key="space").options == ["all spaces", "digits", "mnist"]
    app.selectbox(key="space").select("mnist").run()
    assert app.selectbox(key="run").options == ["other"]
    assert app.selectbox(key="run").value == "other"
    assert app.multiselect(key="pin").value == app.multiselect(key="vs").value == []


def test_a_run_that_cannot_be_read_is_named_in_the_sidebar(storage, monkeypatch):
    (storage / "broken").mkdir()
    (storage / "broken" / "run.json").write_text("{")
    app = open_page(monkeypatch, storage, run="three")
    assert app.sidebar.text[0].value == "Cannot be read: broken"
    assert not app.error


def test_what_the_address_names_and_is_not_there_is_told_until_a_run_is_picked(storage, monkeypatch):
    app = open_page(monkeypatch, storage, run="nope", vs="gone")
    shown = app.selectbox(key="run").value
    assert (
        f"There is no run nope in this storage. There is no run gone in this storage. {shown} is shown."
        in texts(app)
    )
    app.run()
    assert "no run nope" in texts(app)
    app.selectbox(key="run").select("three").run()
    assert "no run nope" not in texts(app)


def test_a_pin_that_is_no_trial_is_told(storage, monkeypatch):
    app = open_page(monkeypatch, storage, run="three", pin="u99999")
    assert "three has no trial u99999, which was pinned." in texts(app)


def test_runs_that_are_deleted_while_they_are_looked_at_are_told(storage, monkeypatch):
    app = open_page(monkeypatch, storage, run="three", vs="many")
    assert "gone" not in texts(app)
    shutil.rmtree(storage / "three")
    shutil.rmtree(storage / "many")
    app.run()
    assert not app.exception
    assert app.selectbox(key="run").value in ("three objectives", "no labels")
    assert "The run three is gone" in texts(app) and "The run many is gone" in texts(app)
