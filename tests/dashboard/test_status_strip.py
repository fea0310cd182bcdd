"""The strip above every page: what the run does now, whatever the page below it shows."""

import os
import shutil
import socket
from datetime import UTC, datetime, timedelta

import pytest
from dashboard_app import metrics, open_page, texts
from edge_runs import book, build, manifest, report, trial, write_run
from streamlit.testing.v1 import AppTest

from raysys.records import TrialStatus
from raysys.store.driver import Driver, write_record
from raysys.store.manifest import RunState, write_manifest
from raysys.store.writer import RunWriter


def works(layout, beat=None):
    host = socket.gethostname()
    write_record(
        layout, Driver(host=host, pid=os.getpid(), token="t", beat=beat or datetime(9999, 1, 1, tzinfo=UTC))
    )


def first_line(app):
    """The state and what is told beside it."""
    return app.markdown[0].value, app.text[0].value


@pytest.mark.parametrize(
    ("name", "word", "told"),
    [
        ("three", "finished", "3 of 3 trials ended (3 finished)  |  3,000 queries charged"),
        ("failed-only", "failed", "3 of 3 trials ended (3 failed)  |  3,000 queries charged of 100,000 (3%)"),
        (
            "priced",
            "interrupted",
            "2 of 3 trials ended (1 finished, 1 stopped)  |  1 interrupted"
            "  |  3,000 queries charged of 20,000 (15%)  |  31.00 of 100.00 USD",
        ),
        (
            "running",
            "running, but its driver is dead",
            "2 of 10 trials ended (1 finished, 1 stopped)  |  7 pending, 1 running  |  3,000 queries charged",
        ),
    ],
)
@pytest.mark.parametrize("page", ["overview", "tradeoff"])
def test_state_trials_and_spending(name, word, told, page, tmp_path, monkeypatch):
    layout = build(tmp_path, name)
    app = open_page(monkeypatch, tmp_path, page)
    state, words = first_line(app)
    assert f" {word}]" in state and words == told
    changed = datetime.fromtimestamp(layout.run_json.stat().st_mtime, UTC)
    assert f"The pages show the run as of {changed:%Y-%m-%d}" in texts(app)


def going(tmp_path, **changes):
    """Two of six trials ended after a minute each, two run."""
    ended = [trial(n, seconds=60.0) for n in range(2)]
    others = [trial(n, TrialStatus.RUNNING) for n in range(2, 4)]
    return write_run(tmp_path / "run", [*ended, *others], state=RunState.RUNNING, trials=6, **changes)


def test_a_run_that_goes_on_tells_the_time_left_and_how_it_is_known(tmp_path, monkeypatch):
    works(going(tmp_path))
    state, words = first_line(open_page(monkeypatch, tmp_path))
    assert " running]" in state
    assert words.endswith("about 90 s left: 4 trials open, 2 at once and half done, 60 s each as so far")


def test_a_dead_driver_promises_no_end(tmp_path, monkeypatch):
    works(going(tmp_path), datetime.now(UTC) - timedelta(hours=1))
    state, words = first_line(open_page(monkeypatch, tmp_path))
    assert "its driver is dead" in state and "left" not in words


def test_a_run_that_stands_still_is_told(tmp_path, monkeypatch):
    layout = going(tmp_path)
    works(layout)
    then = datetime.now(UTC).timestamp() - 20 * 60
    for path in [layout.run_json, *layout.trials.iterdir(), *layout.reports.iterdir()]:
        os.utime(path, (then, then))
    state, words = first_line(open_page(monkeypatch, tmp_path))
    assert "stalled: no change for 20 min]" in state and "left" not in words


def test_news_are_counted_and_wait_for_the_button(tmp_path, monkeypatch):
    layout = build(tmp_path, "running")
    works(layout)
    app = open_page(monkeypatch, tmp_path)
    assert not app.button
    with RunWriter(layout) as writer:
        writer.report(report(0, 9))
    app.run()
    assert "There are newer results:" in texts(app)
    with RunWriter(layout) as writer:
        writer.trial(trial(0))
        writer.trial(trial(3))
        writer.trial(trial(4, TrialStatus.RUNNING))
    app.run()
    assert "2 new trials:" in texts(app)
    assert first_line(app)[1].startswith(
        "4 of 10 trials ended (3 finished, 1 stopped)  |  5 pending, 1 running"
    )
    app.button(key="refresh").click().run()
    assert not app.button and "new" not in app.text[1].value


def test_the_end_of_the_run_is_told_before_it_is_shown(tmp_path, monkeypatch):
    layout = build(tmp_path, "running")
    app = open_page(monkeypatch, tmp_path)
    write_manifest(layout, manifest(state=RunState.CAPPED, trials=10, charged=4000))
    app.run()
    state, words = first_line(app)
    assert " capped]" in state and "4,000 queries charged" in words
    assert app.button(key="refresh")


def only_the_strip(view):
    """What the browser asks for every few seconds."""
    import streamlit as st

    from dashboard import status

    st.session_state["view"] = view
    status.strip()


def test_a_run_that_is_deleted_meanwhile_is_told(tmp_path, monkeypatch):
    layout = build(tmp_path, "running")
    build(tmp_path, "three")
    view = open_page(monkeypatch, tmp_path, run="running").session_state["view"]
    shutil.rmtree(layout.root)
    app = AppTest.from_function(only_the_strip, kwargs={"view": view}).run()
    assert not app.exception
    assert "cannot be read now" in app.markdown[0].value
    assert "it has no run.json" in app.text[0].value
    assert "The pages show the run as of" in app.text[0].value


def test_what_a_killed_run_was_charged_is_what_its_ledger_says(tmp_path, monkeypatch):
    layout = build(tmp_path, "running")
    book(layout, evaluation=470)
    app = open_page(monkeypatch, tmp_path)
    assert first_line(app)[1].endswith("|  3,470 queries charged")
    assert metrics(app)["Queries charged"] == "3,470"
    assert app.dataframe[0].value["charged"].tolist() == [3470]


def test_where_the_ledger_cannot_be_read_queries_are_a_least_number(tmp_path, monkeypatch):
    layout = build(tmp_path, "running")
    book(layout, evaluation=470)
    journal = layout.ledger / "journal.jsonl"
    journal.write_bytes(b"garbage\n" + journal.read_bytes())
    app = open_page(monkeypatch, tmp_path)
    assert first_line(app)[1].endswith("|  at least 3,000 queries charged")
    assert metrics(app)["Queries charged"] == "at least 3,000"
    assert "At least so many queries" in texts(app)


def strip_of_a_page(view):
    """Drawn with the page at first, then alone."""
    import streamlit as st

    from dashboard import status

    st.session_state["view"] = view
    status.strip() if "drawn" not in st.session_state else status._strip()


def test_a_death_after_the_page_was_drawn_offers_to_draw_it_again(tmp_path, monkeypatch):
    layout = build(tmp_path, "running")
    works(layout)
    view = open_page(monkeypatch, tmp_path).session_state["view"]
    app = AppTest.from_function(strip_of_a_page, kwargs={"view": view}).run()
    assert not app.button
    works(layout, datetime.now(UTC) - timedelta(hours=1))
    app.run()
    assert "The page was drawn when the run was running:" in texts(app)
    assert app.button(key="refresh")
    assert "its driver is dead" in texts(open_page(monkeypatch, tmp_path))


def test_many_damaged_files_are_one_sentence_and_a_folded_list(tmp_path, monkeypatch):
    layout = build(tmp_path, "three")
    parts = [*layout.trials.iterdir(), *layout.reports.iterdir()]
    for part in parts:
        part.write_bytes(b"garbage")
    app = open_page(monkeypatch, tmp_path)
    assert any(text.value.startswith(f"{len(parts)} files of the tables cannot be read") for text in app.text)
    (folded,) = (one for one in app.expander if one.label == "All of these files")
    assert all(str(part) in folded.code[0].value for part in parts)
    assert "0 of 3 trials ended  |  3 pending  |  rows are lost" in texts(app)
