"""Overview: the numbers, what is wrong, and the runs of the storage."""

import json

import pytest
from dashboard_app import charts, metrics, open_page, texts, traces
from edge_runs import RUNS, book, build, report, trial, write_run

from raysys.cli.app import main
from raysys.records import TrialStatus
from raysys.store.headline import headline
from raysys.store.reader import read_run, reports_of
from raysys.store.schema import reports_table


def commands(app):
    return [block.value for block in app.code]


@pytest.mark.parametrize("name", ["three", "seeds", "priced", "failed-only", "no labels"])
def test_the_numbers_are_those_of_the_command(name, tmp_path, monkeypatch, capsys):
    layout = build(tmp_path, name)
    main(["show", str(layout.root), "--json"])
    told = json.loads(capsys.readouterr().out)
    shown = metrics(open_page(monkeypatch, tmp_path))
    score = told["objectives"][0]["name"]
    best = [f"{max(point[score] for point in told['points']):.1%}"] if told["points"] else ["none"]
    assert [shown["Front points"], shown[f"Best {score.replace('_', ' ')}"]] == [
        str(len(told["points"])),
        *best,
    ]
    assert shown["Hypervolume"] == f"{told['hypervolume']:.4f}"
    charged = next(value for label, value in shown.items() if label.startswith("Queries charged"))
    assert charged == f"{told['queries']['charged']:,}"
    assert ("USD" in shown) == (name == "priced")


def test_caps_and_money_have_their_units(tmp_path, monkeypatch):
    build(tmp_path, "priced")
    shown = metrics(open_page(monkeypatch, tmp_path))
    assert (shown["Queries charged of 20,000"], shown["USD"]) == ("3,000", "31.00")


def test_limits_and_kind_change_what_the_front_is(tmp_path, monkeypatch):
    build(tmp_path, "three")
    shown = metrics(open_page(monkeypatch, tmp_path, max_queries="1200"))
    assert shown["Front points within the limits"] == "2"
    assert shown["Best val accuracy within the limits"] == "95.0%"
    reports = metrics(open_page(monkeypatch, tmp_path, front="all reports"))
    assert int(reports["Front points"]) > 1 and reports["Best val accuracy"] == "54.0%"


def test_the_change_of_the_hypervolume_says_over_what(tmp_path, monkeypatch):
    build(tmp_path, "many")
    (volume,) = (one for one in open_page(monkeypatch, tmp_path).metric if one.label == "Hypervolume")
    assert volume.proto.delta_description == "over the last 6 trials"


@pytest.mark.parametrize("last", [0.801, 0.8])
def test_a_small_change_of_the_hypervolume_is_told_with_its_sign(last, tmp_path, monkeypatch):
    layout = write_run(tmp_path / "run", [trial(0, val_accuracy=0.8), trial(1, val_accuracy=last)])
    (volume,) = (one for one in open_page(monkeypatch, tmp_path).metric if one.label == "Hypervolume")
    gained = headline(read_run(layout)).gained
    assert volume.delta == (f"+{gained:.4f}" if last > 0.8 else "0.0000") and 0 <= gained < 0.001


def test_a_healthy_run_says_so(tmp_path, monkeypatch):
    book(build(tmp_path, "three"), evaluation=0)
    app = open_page(monkeypatch, tmp_path)
    assert ":green-badge[" in texts(app) and "healthy: no fault, no warning" in texts(app)
    assert "1 note" in [one.label for one in app.expander]


def test_what_is_wrong_comes_with_what_to_do(tmp_path, monkeypatch):
    layout = build(tmp_path, "failed-only")
    app = open_page(monkeypatch, tmp_path)
    assert "3 of 3 trials that ended failed: ValueError: boom $x$" in [text.value for text in app.text]
    assert f"raysys tune --resume {layout.root} --retry-failed" in commands(app)
    assert "healthy: " not in texts(app)
    assert not any("boom" in mark.value for mark in [*app.markdown, *app.caption, *app.info])


def test_the_findings_are_those_of_the_command(tmp_path, monkeypatch, capsys):
    layout = build(tmp_path, "nan")
    main(["show", str(layout.root), "--json"])
    findings = json.loads(capsys.readouterr().out)["health"]
    shown = [text.value for text in open_page(monkeypatch, tmp_path).text]
    assert findings and all(one["seen"] in shown for one in findings)


def test_a_ledger_that_cannot_be_read_is_a_finding(tmp_path, monkeypatch):
    layout = build(tmp_path, "three")
    book(layout, evaluation=0)
    journal = layout.ledger / "journal.jsonl"
    journal.write_bytes(b"garbage\n" + journal.read_bytes())
    app = open_page(monkeypatch, tmp_path)
    assert not app.exception
    assert "ledger" in "\n".join(text.value for text in app.text)
    assert "healthy: " not in texts(app)


def test_a_ledger_ahead_of_the_snapshot_is_no_mismatch(tmp_path, monkeypatch):
    """The run goes on behind a page that shows it as it was."""
    build(tmp_path, "three")
    layout = build(tmp_path, "one")
    app = open_page(monkeypatch, tmp_path, run="three", vs="one")
    book(layout, evaluation=70)
    reports_of(layout).append(reports_table([report(1, 1)]), 2)
    app.selectbox(key="run").select("one").run()
    assert "There are newer results" in texts(app)
    assert "disagree" not in texts(app)
    assert "The ledger was not compared" in texts(app)


def test_how_trials_ended_by_state_in_the_order_of_their_ends(tmp_path, monkeypatch):
    states = [TrialStatus.FINISHED, TrialStatus.FAILED, TrialStatus.STOPPED, TrialStatus.RUNNING]
    write_run(tmp_path / "run", [trial(n, state, error="boom") for n, state in enumerate(states)])
    app = open_page(monkeypatch, tmp_path)
    (chart,) = (one for one in app.get("plotly_chart") if one.key == "states-chart")
    assert chart.proto.alt == "How 3 trials ended, 1 a bar: 1 finished, 1 stopped, 1 failed."
    hatches = [trace["marker"]["pattern"]["shape"] for trace in traces(app, "states-chart").values()]
    assert len(set(hatches)) == 3


def test_without_trials_it_says_why_there_is_no_chart(tmp_path, monkeypatch):
    build(tmp_path, "none")
    app = open_page(monkeypatch, tmp_path)
    assert not charts(app)
    assert ["no front yet" in one.value or "No trial has ended" in one.value for one in app.info] == [
        True,
        True,
    ]


def test_all_runs_of_the_storage_and_what_is_wrong_with_some(tmp_path, monkeypatch):
    for name in RUNS:
        build(tmp_path, name)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    app = open_page(monkeypatch, tmp_path, run="three")
    (shown,) = (frame.value for frame in app.dataframe)
    rows = {row["run"]: row for row in shown.to_dict("records")}
    assert set(rows) == {*RUNS, "broken"}
    assert (rows["three"]["finished"], rows["three"]["front"], rows["three"]["charged"]) == (3, 3, 3000)
    assert (rows["running"]["state"], rows["priced"]["state"]) == ("running (dead)", "interrupted")
    assert rows["broken"]["state"] == "unreadable" and "cannot read" in rows["broken"]["problem"]
    assert shown["run"].iloc[-1] == "broken"
    assert "1 of which cannot be read" in app.dataframe[0].proto.alt
