import hashlib
import json
from dataclasses import replace

import pytest
from dashboard_app import charts, decoded, metrics, open_page, texts, traces
from edge_runs import book, build, draw, pairs, trial, write_run

from raysys.records import TrialStatus
from raysys.store.reader import trials_of
from raysys.store.schema import trials_table


@pytest.fixture
def three(tmp_path):
    return build(tmp_path, "three")


def part(app, name):
    app.session_state["trial-part"] = name
    return app.run()


def rows(app, words):
    """The table whose `alt` has these words."""
    return next(one.value for one in app.dataframe if words in one.proto.alt)


def test_it_opens_at_the_knee_with_what_the_trial_reached(three, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "trial")
    assert app.selectbox(key="trial").value == "u00001"
    shown = metrics(app)
    assert shown["State"] == "finished"
    assert shown["Val accuracy ↑"] == "95.00%"
    assert shown["Queries (images) ↓"] == "1,000"
    assert "seed 101" in texts(app)
    assert "Time: 60% generate, 40% train." in texts(app)
    assert "Higher val accuracy than 50% of the other finished trials (n = 2)." in texts(app)
    assert "No finished trial dominates it; it dominates 0." in texts(app)
    assert "Its recipe is on the final front: it is the knee." in texts(app)


def test_an_unknown_trial_of_the_address_is_told_and_the_knee_shown(three, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "overview")
    app.query_params["trial"] = "../u00042"
    app.switch_page("views/trial.py").run()
    assert app.selectbox(key="trial").value == "u00001"
    assert "no such trial" in app.warning[0].value
    assert "../u00042" in texts(app)


def test_dominance_and_other_seeds_lead_to_those_trials(tmp_path, monkeypatch):
    build(tmp_path, "seeds")
    app = open_page(monkeypatch, tmp_path, "trial", run="seeds")
    app.selectbox(key="trial").select("u00001").run()
    assert app.query_params["trial"] == "u00001", "Back and links find it again"
    assert "2 finished trials dominate it; it dominates 0." in texts(app)
    app.button(key="Other seeds of this recipe-u00003").click().run()
    assert app.selectbox(key="trial").value == "u00003"
    app.button(key="Other seeds of this recipe-u00001").click().run()
    app.button(key="Dominated by-u00002").click().run()
    assert app.selectbox(key="trial").value == "u00002"


def test_curve_and_losses_over_queries_or_steps(three, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "trial")
    assert decoded(traces(app, "curve-chart")["val accuracy"]["x"]) == [333, 666, 1000]
    assert set(traces(app, "loss-chart")) == {"cross_entropy"}
    app.segmented_control(key="curve-over").select("step").run()
    assert decoded(traces(app, "curve-chart")["val accuracy"]["x"]) == [0, 1, 2]


def test_the_ledger_is_shown_and_reconciled(three, tmp_path, monkeypatch):
    book(three)
    app = part(open_page(monkeypatch, tmp_path, "trial"), "Ledger")
    assert "Reconciled: the ledger charged 1,000 queries, the trial reports 1,000." in app.success[0].value
    table = rows(app, "requests of trial u00001")
    assert table["charged"].tolist() == [333, 333, 334]
    assert table["cumulative"].tolist() == [333, 666, 1000]
    assert table["outcome"].tolist() == ["answered"] * 3
    assert not charts(app)


def test_a_ledger_that_does_not_agree_is_told(tmp_path, monkeypatch):
    records = [trial(0, queries=600), trial(1, TrialStatus.STOPPED, queries=600)]
    book(write_run(tmp_path / "run", records))
    write_run(tmp_path / "run", [trial(0, queries=900), trial(1, TrialStatus.STOPPED, queries=500)], steps=0)
    app = part(open_page(monkeypatch, tmp_path, "trial"), "Ledger")
    assert "Does not agree: the ledger charged 600 queries, the trial reports 900" in app.error[0].value
    app.selectbox(key="trial").select("u00001").run()
    assert "What was asked after its last report is charged, too." in app.info[0].value


def test_a_run_without_a_ledger_and_without_images_says_so(three, tmp_path, monkeypatch):
    app = part(open_page(monkeypatch, tmp_path, "trial"), "Ledger")
    assert "no ledger yet" in app.info[0].value
    assert "left no sheets" in part(app, "Images").info[0].value
    assert "No file is kept" in part(app, "Files").info[0].value


def test_a_damaged_ledger_and_a_damaged_sheet_are_told_and_the_page_stands(three, tmp_path, monkeypatch):
    book(three)
    (journal,) = (one for one in three.ledger.iterdir() if one.stat().st_size)
    journal.write_bytes(journal.read_bytes().replace(b"charges", b"chargez", 1))
    app = part(open_page(monkeypatch, tmp_path, "trial"), "Ledger")
    assert "cannot be read" in app.error[0].value
    assert "damaged" in texts(app)
    draw(three, "u00001", [0, 1])
    (three.samples / "u00001" / "00001.png").write_text("<script>")
    app = part(app, "Images")
    assert "it is no PNG" in texts(app)
    assert len(app.get("image")) == 1


def test_sheets_from_the_first_step_to_the_last(three, tmp_path, monkeypatch):
    draw(three, "u00001", range(12))
    app = part(open_page(monkeypatch, tmp_path, "trial"), "Images")
    captions = [one.proto.imgs[0].caption for one in app.get("image")]
    assert captions[0] == "step 0"
    assert captions[-1] == "step 11"
    assert len(captions) == 8
    assert "8 of 12 steps" in texts(app)
    assert all(one.proto.imgs[0].alt for one in app.get("image"))


def test_files_with_their_hashes(three, tmp_path, monkeypatch):
    pairs(three, "u00001", [1, 2])
    table = rows(part(open_page(monkeypatch, tmp_path, "trial"), "Files"), "files of trial u00001")
    assert table["file"].tolist() == ["students/u00001/pairs.parquet"]
    assert table["sha256"].tolist() == [hashlib.sha256(three.pairs("u00001").read_bytes()).hexdigest()]


def test_how_to_repeat_it(three, tmp_path, monkeypatch):
    app = part(open_page(monkeypatch, tmp_path, "trial"), "Repeat")
    commands = [one.value for one in app.code]
    assert commands[0] == f"raysys trial --from {three.location}:u00001"
    config = json.loads(next(command for command in commands if command.startswith("{")))
    assert config["uid"] == "u00001"
    assert config["options"]["g_steps"] == 11
    environment = dict(rows(app, "versions and hashes").values.tolist())
    assert environment["teacher sha256"] == "ab" * 32


def test_errors_are_shown_whole_and_as_they_are(tmp_path, monkeypatch):
    build(tmp_path, "failed-only")
    app = open_page(monkeypatch, tmp_path, "trial")
    assert app.code[0].value == "ValueError: boom $x$\n  at line 3"
    assert metrics(app)["Val accuracy ↑"] == "none"
    assert "It takes no part in the final front" in texts(app)


def test_a_price_is_told_and_a_run_without_trials_says_so(tmp_path, monkeypatch):
    build(tmp_path, "priced")
    assert metrics(open_page(monkeypatch, tmp_path, "trial"))["Cost (USD) ↓"] == "5.00"
    build(tmp_path, "none")
    assert "No trial has begun yet" in open_page(monkeypatch, tmp_path, "trial", run="none").info[0].value


def test_a_running_trial_tells_what_it_has_so_far(tmp_path, monkeypatch):
    records = [trial(0, TrialStatus.RUNNING, queries=600, val_accuracy=None)]
    going = write_run(tmp_path / "run", records)
    trials_of(going).append(trials_table([replace(records[0], queries=0)]), 2)
    shown = metrics(open_page(monkeypatch, tmp_path, "trial"))
    assert shown["Val accuracy so far ↑"] == "54.00%"
    assert shown["Queries (images) so far ↓"] == "600"
    assert shown["Seconds so far ↓"] == "1.0"
    assert "queries, seconds and score so far" in texts(open_page(monkeypatch, tmp_path, "trials"))
