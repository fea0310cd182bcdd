"""The Queries page: what it says is what the ledger, the tables and the audit say."""

import json
from pathlib import Path

import pytest
from dashboard_app import charts, decoded, metrics, open_page, texts, traces
from edge_runs import RUNS, book, build, trial, write_run

from raysys.cli.app import main
from raysys.records import EVALUATION, TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState, read_manifest, write_manifest
from raysys.teacher.journal import open_journal, read_accounts
from raysys.teacher.ledger import Ledger, RequestKey
from raysys.teacher.log import FILE


def reconcile(layout: RunLayout) -> None:
    """Let run.json tell what the ledger tells, as a run does that ends."""
    accounts = read_accounts(layout.ledger).values()
    total = {
        "charged": sum(one.charged for one in accounts),
        "executed": sum(one.executed for one in accounts),
    }
    write_manifest(layout, read_manifest(layout).model_copy(update=total))


@pytest.fixture
def layout(tmp_path) -> RunLayout:
    """A run that ended, with its ledger: two on the front, one stopped, one failed."""
    records = [
        trial(0, queries=300, val_accuracy=0.8),
        trial(1, queries=600, val_accuracy=0.9),
        trial(2, TrialStatus.STOPPED, queries=90),
        trial(3, TrialStatus.FAILED, queries=30, val_accuracy=None, error="boom"),
    ]
    layout = write_run(tmp_path / "run", records, space={"name": "digits", "price": 0.01})
    book(layout)
    reconcile(layout)
    return layout


def shown(app, column):
    """The rows of the table that has this column."""
    found = next(table.value for table in app.dataframe if column in table.value.columns)
    return found.to_dict("records")


def test_every_query_is_in_the_bar_and_in_the_table(layout, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "queries")
    assert not app.exception
    bar = traces(app, "spending-chart")
    assert {name: decoded(trace["x"]) for name, trace in bar.items()} == {
        "finished, on the front": [900],
        "stopped": [90],
        "failed": [30],
        EVALUATION: [100],
    }
    rows = shown(app, "share")
    assert [(row["use"], row["trials"], row["charged"], row["executed"]) for row in rows] == [
        ("finished, on the front", 2, 900, 900),
        ("stopped", 1, 90, 90),
        ("failed", 1, 30, 30),
        (EVALUATION, 0, 100, 100),
    ]
    assert [row["usd"] for row in rows] == pytest.approx([9.0, 0.9, 0.3, 1.0])
    told = metrics(app)
    assert told["Charged"] == "1,120"
    assert told["On stopped and failed trials"] == "120 (10.7%)"
    assert told["Cost"] == "USD 11.20"


def test_the_audit_is_the_commands(layout, tmp_path, monkeypatch, capsys):
    app = open_page(monkeypatch, tmp_path, "queries", audit_trials="true")
    assert app.success[0].value == "every charge is accounted for"
    assert main(["audit", str(layout.root)]) == 0
    told = capsys.readouterr()
    assert app.success[0].value in told.err
    assert "1,120 queries charged (100 of them for evaluation), 1,120 executed, 0 orphaned" in texts(app)
    assert "1,120 queries charged (100 of them for evaluation), 1,120 executed, 0 orphaned" in told.out
    assert f"raysys audit {layout.root}" in texts(app)
    assert main(["audit", str(layout.root), "--json"]) == 0
    assert shown(app, "reported") == json.loads(capsys.readouterr().out)["trials"]


def test_a_mismatch_is_told_in_the_commands_words(tmp_path, monkeypatch, capsys):
    layout = build(tmp_path, "three")  # run.json does not know of evaluation
    book(layout)
    app = open_page(monkeypatch, tmp_path, "queries")
    assert app.error[0].value == "The audit found 1 mismatch(es)."
    mismatch = next(code.value for code in app.code if "run.json says" in code.value)
    assert main(["audit", str(layout.root), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["mismatches"] == [mismatch]


def test_images_that_were_sent_for_nothing_are_told(layout, tmp_path, monkeypatch):
    journal = open_journal(layout.ledger)
    journal.replay(Ledger())
    journal.append_sent([(RequestKey("u00003", 9, "lost", 25), 25)])
    journal.close()
    app = open_page(monkeypatch, tmp_path, "queries")
    told = metrics(app)
    assert told["Executed"] == "1,145 (+25)"
    assert told["Without an answer"] == "1"
    assert told["Cost"] == "USD 11.45"
    assert [(row["uid"], row["sequence"], row["sent"]) for row in shown(app, "sent_at")] == [
        ("u00003", 9, 25)
    ]
    assert list(traces(app, "rate-chart")) == ["answered", "sent, no answer"]


def test_without_a_ledger_the_tables_tell(tmp_path, monkeypatch):
    build(tmp_path, "priced")
    app = open_page(monkeypatch, tmp_path, "queries")
    assert "no ledger yet" in app.info[0].value
    assert metrics(app)["Charged"] == "3,000"
    assert "Executed" not in metrics(app)
    assert set(charts(app)) == {"spending-chart", "spread-chart"}


def test_nothing_was_asked_yet(tmp_path, monkeypatch):
    build(tmp_path, "none")
    app = open_page(monkeypatch, tmp_path, "queries")
    assert any("Nothing was asked yet" in info.value for info in app.info)
    assert not charts(app)


def test_a_large_ledger_is_read_only_when_asked_for(layout, tmp_path, monkeypatch):
    journal = open_journal(layout.ledger)
    journal.replay(Ledger())
    journal.append_open("u00009" + 21_000_000 * "x", 1, 0)
    journal.close()
    app = open_page(monkeypatch, tmp_path, "queries")
    assert "is not read yet" in app.info[0].value
    assert "Executed" not in metrics(app)
    app.button(key="read-ledger").click().run()
    assert metrics(app)["Executed"] == "1,120"
    app.segmented_control(key="spread").set_value("share of budget").run()
    assert metrics(app)["Executed"] == "1,120"  # it stays read


def test_a_damaged_ledger_is_told_and_the_rest_stays(layout, tmp_path, monkeypatch):
    journal = layout.ledger / FILE
    journal.write_bytes(journal.read_bytes().replace(b'"images":10', b'"images":11', 1))
    app = open_page(monkeypatch, tmp_path, "queries")
    assert not app.exception
    assert app.error[0].value == "The ledger cannot be read: the numbers are by the run's tables."
    assert "the ledger is damaged" in app.code[0].value
    assert metrics(app)["Charged"] == "1,120"


def test_the_spread_follows_its_control(layout, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "queries")
    assert charts(app)["spread-chart"]["layout"]["xaxis"]["title"]["text"] == "queries of a trial"
    app.segmented_control(key="spread").set_value("share of budget").run()
    figure = charts(app)["spread-chart"]
    assert "share of the trial's budget" in figure["layout"]["xaxis"]["title"]["text"]
    assert sum(sum(decoded(trace["y"])) for trace in figure["data"]) == 4


def test_teachers_of_all_runs_that_are_compared(layout, tmp_path, monkeypatch):
    space = {"teacher": {"http": {"url": "http://me:secret@host:8000/v2?key=secret", "model": "m"}}}
    write_run(tmp_path / "other", [trial(0)], space=space, charged=600, executed=650)
    app = open_page(monkeypatch, tmp_path, "queries", run="run", vs="other")
    rows = shown(app, "where")
    assert [(row["run"], row["where"], row["charged"], row["executed"]) for row in rows] == [
        ("run", "lenet5", 1120, 1120),
        ("other", "http://host:8000/v2", 600, 650),
    ]


@pytest.mark.parametrize("name", RUNS)
def test_every_run_with_its_ledger(name, tmp_path: Path, monkeypatch):
    layout = build(tmp_path, name)
    book(layout)
    app = open_page(monkeypatch, tmp_path, "queries")
    assert not app.exception
    total = sum(account.charged for account in read_accounts(layout.ledger).values())
    assert metrics(app)["Charged"] == f"{total:,}"
    if read_manifest(layout).state is RunState.RUNNING:
        assert not app.error
