"""The Compare page shows what `raysys compare` prints, and says what it leaves out."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from dashboard_app import charts, open_page, texts, traces
from edge_runs import TEACHER, build, config, trial, write_run
from streamlit.testing.v1 import AppTest

from raysys.cli.app import main

SEEDS = {"tpe": [(0.6, 0.9), (0.5, 0.8), (0.55, 0.85)], "random": [(0.5, 0.7), (0.55, 0.6), (0.4, 0.85)]}


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Two searches with three seeds; each run has a config of its own, and one that all of a search have."""
    for sampler, ends in SEEDS.items():
        for seed, accuracies in enumerate(ends):
            records = []
            for number, (queries, accuracy) in enumerate(zip((100, 1600), accuracies, strict=True)):
                own = config(number, query_budget=queries, tried_by=sampler)
                own = replace(own, seed=10 * seed + number)
                reached = trial(number, queries=queries, val_accuracy=accuracy, agreement=accuracy)
                records.append(replace(reached, config=own))
            write_run(tmp_path / f"{sampler}-{seed}", records, sampler=sampler, seed=seed)
    return tmp_path


OTHERS = ["tpe-1", "tpe-2", "random-0", "random-1", "random-2"]


def shown(app: AppTest, words: str) -> pd.DataFrame:
    """The table whose description has these words."""
    (table,) = (one for one in app.dataframe if words in one.proto.alt)
    return table.value


def printed(storage: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["compare", *(str(storage / name) for name in ["tpe-0", *OTHERS]), *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_searches_have_the_numbers_of_the_command(storage, monkeypatch, capsys):
    app = open_page(monkeypatch, storage, "compare", run="tpe-0", vs=OTHERS)
    assert not app.exception
    command = printed(storage, capsys, "--fronts")["searches"]
    rows = shown(app, "searches, ").to_dict("records")
    assert [row["search"] for row in rows] == ["1: tpe", "2: random"]
    for row, search in zip(rows, command, strict=True):
        volume = search["hypervolume"]
        assert row["hypervolume"] == f"{volume['mean']:.4f} ± {volume['std']:.4f}"
        assert (row["n"], row["queries"], row["seeds"]) == (3, 1700, "0, 1, 2")
    above = command[1]["hypervolume"]["mean"] - command[0]["hypervolume"]["mean"]
    assert rows[1]["above search 1"] == f"{above:+.4f}"
    low, high = (float(end) for end in rows[1]["95 % interval"].removesuffix(", pairs").split(" to "))
    assert low <= above <= high
    wins = [
        ours > theirs
        for ours, theirs in zip(*(one["hypervolume"]["values"] for one in command[::-1]), strict=True)
    ]
    assert rows[1]["win/tie/loss"] == f"{sum(wins)}/0/{3 - sum(wins)}"


def test_what_is_attained_has_the_numbers_of_the_command(storage, monkeypatch, capsys):
    app = open_page(monkeypatch, storage, "compare", run="tpe-0", vs=OTHERS)
    command = printed(storage, capsys, "--fronts")
    table = shown(app, "what is attained")
    assert table["budget"].tolist() == command["budgets"]
    for number, search in enumerate(command["searches"], start=1):
        for name, scores in search["attained"].items():
            assert table[f"{number}: {name}"].tolist() == [f"{100 * score:.1f}" for score in scores]
    assert "compare-attainment-chart" in charts(app)
    assert "2: random: " in texts(app)


def test_rows_have_the_numbers_of_the_command(storage, monkeypatch, capsys):
    app = open_page(monkeypatch, storage, "compare", run="tpe-0", vs=OTHERS)
    command = printed(storage, capsys)["rows"]
    teacher, *rows = shown(app, "the teacher and").to_dict("records")
    assert (teacher["method"], teacher["val %"], teacher["test %"]) == ("teacher", "98.5", "98.7")
    assert len(rows) == len(command) == 4
    for row, told in zip(rows, command, strict=True):
        reached = told["val_accuracy"]
        digits = 0 if reached["std"] >= 0.1 else 1
        assert row["val %"] == f"{100 * reached['mean']:.1f} ± {100 * reached['std']:.{digits}f}"
        assert (row["budget"], row["n"]) == (told["query_budget"], len(told["seeds"]))
        assert f"tried_by={told['options']['tried_by']}" in row["differs in"]
    assert "no row of uniform or structured noise at 100, 1,600 queries" in texts(app)
    assert "no evidence" not in texts(app)


def test_the_fronts_and_hypervolumes_are_drawn_by_run(storage, monkeypatch):
    app = open_page(monkeypatch, storage, "compare", run="tpe-0", vs=OTHERS)
    fronts = traces(app, "compare-fronts-chart")
    assert [*fronts] == [f"{name} (search {1 + (name[0] == 'r')})" for name in ["tpe-0", *OTHERS]]
    looks = {(one["line"]["dash"], one["marker"]["symbol"]) for one in fronts.values()}
    assert len(looks) == 6
    assert [*traces(app, "compare-hypervolume-chart")] == ["1: tpe", "2: random"]


def test_only_settings_that_differ_are_told(storage, monkeypatch):
    app = open_page(monkeypatch, storage, "compare", run="tpe-0", vs=["tpe-1", "random-0"])
    table = shown(app, "settings that differ")
    assert table.to_dict("records") == [
        {"setting": "seed", "tpe-0": "0", "tpe-1": "1", "random-0": "0"},
        {"setting": "sampler", "tpe-0": "tpe", "tpe-1": "tpe", "random-0": "random"},
    ]


def test_few_runs_are_no_evidence_and_have_no_band(storage, monkeypatch):
    app = open_page(monkeypatch, storage, "compare", run="tpe-0", vs=["random-0"])
    assert "compare-attainment-chart" not in charts(app)
    assert "compare-difference-chart" not in charts(app)
    assert "needs at least 3 runs of one search" in texts(app)
    assert "Searches with fewer than 3 runs (n) are no evidence." in texts(app)
    rows = shown(app, "searches, ")
    assert rows["95 % interval"][1] == "none: n < 3"


def test_runs_that_do_not_compare_are_named_and_left_out(storage, monkeypatch):
    write_run(storage / "foreign", [trial(0)], teacher=replace(TEACHER, sha256="cd" * 32))
    build(storage, "none")
    app = open_page(monkeypatch, storage, "compare", run="tpe-0", vs=["foreign", "none", "random-0"])
    assert "none has no finished trial" in texts(app)
    assert "runs with different teachers cannot be compared" in texts(app)
    assert [*traces(app, "compare-fronts-chart")] == ["tpe-0 (search 1)", "random-0 (search 2)"]


def test_one_run_is_shown_alone_and_how_to_pick_others(storage, monkeypatch):
    app = open_page(monkeypatch, storage, "compare", run="tpe-0")
    assert "Pick other runs" in app.info[0].value
    assert len(shown(app, "the teacher and")) == 3
    assert f"raysys compare {storage}/tpe-0" in texts(app)


def test_a_run_without_a_result_says_so(tmp_path, monkeypatch):
    build(tmp_path, "failed-only")
    app = open_page(monkeypatch, tmp_path, "compare")
    assert not app.exception
    assert "No run here has a finished trial" in texts(app)
    assert not charts(app)
