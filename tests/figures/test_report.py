"""The report is one file that needs nothing else, and tells what the commands tell."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from edge_runs import RUNS, build, config, replicate, trial, write_run

from raysys.cli.app import main
from raysys.figures.report import report_html
from raysys.records import TrialStatus
from raysys.store.reader import read_run

SCRIPT = re.compile(r"<script.*?</script>", re.DOTALL)


class _Page(HTMLParser):
    """Tables by caption, as lists of rows of texts; attributes that name something to load; all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.loads: list[str] = []
        self.text = ""
        self._into: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag == "table":
            self._rows: list[list[str]] = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th", "caption"):
            self._into = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "caption":
            self.tables["".join(self._into or [])] = self._rows
        if tag in ("td", "th"):
            self._rows[-1].append("".join(self._into or []))
        if tag in ("td", "th", "caption"):
            self._into = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._into is not None:
            self._into.append(data)


def page(html: str) -> _Page:
    return _Page(SCRIPT.sub("", html))


def told(html: str) -> dict[str, Any]:
    """The front in the file."""
    return json.loads(html.split('id="front">')[1].split("</script>")[0])


FRONT = "The final front; the knee is bold"


@pytest.mark.parametrize("name", RUNS)
def test_every_edge_case_run_has_a_report_that_loads_nothing(name, tmp_path, capsys):
    layout = build(tmp_path, name)
    html = report_html(read_run(layout))
    found = page(html)
    assert found.loads == []
    assert "http" not in SCRIPT.sub("", html).replace("http-equiv", "").replace("architecture http", "")
    assert html.count("<script>") >= 1
    assert len(re.findall(r"Plotly\.register|plotly\.js v\d", html)) <= 2, "plotly.js is there once"
    assert f"Run {name}" in found.text
    assert main(["front", str(layout.root), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    for point in printed["points"]:
        del point["best"], point["cheapest"]
    assert told(html) == printed
    assert len(found.tables.get(FRONT, [[]])) == 1 + len(printed["points"])


def test_the_table_of_the_front_has_the_numbers_of_the_command(tmp_path):
    html = report_html(read_run(build(tmp_path, "seeds")))
    columns, *rows = page(html).tables[FRONT]
    assert columns == [
        "uid",
        "seeds",
        "queries",
        "val accuracy",
        "test accuracy",
        "what differs in its config",
    ]
    assert rows == [
        ["u00000", "2", "500", "85.00% ± 7.07", "75.00% ± 7.07", "g_steps=10"],
        ["u00001", "2", "1,000", "91.00% ± 2.83", "-", "g_steps=11"],
    ]


def test_the_headline_names_best_and_knee_and_what_was_spent(tmp_path):
    rows = dict(page(report_html(read_run(build(tmp_path, "three")))).tables["Headline numbers"][1:])
    assert rows["points on the final front"] == "3"
    assert rows["val accuracy, best"] == "96.00% at 1,500 queries (u00002)"
    assert rows["val accuracy, at the knee"] == "95.00% at 1,000 queries (u00001)"
    assert rows["teacher's val accuracy"] == "98.50%"
    assert rows["trials"] == "3 finished, of 3 planned"
    assert rows["queries charged, evaluation included"] == "3,000"


def test_a_budget_buys_the_best_student_that_it_pays_for(tmp_path):
    columns, *rows = page(report_html(read_run(build(tmp_path, "three")))).tables[
        "The best configuration within a budget"
    ]
    bought = {int(row[0].replace(",", "")): (row[1], int(row[3].replace(",", ""))) for row in rows}
    assert columns[0] == "budget"
    assert bought[1000] == ("u00001", 1000)
    assert bought[max(bought)] == ("u00002", 1500)
    assert all(queries <= budget for budget, (_, queries) in bought.items())


def test_a_price_is_told_for_each_point_and_the_run(tmp_path):
    found = page(report_html(read_run(build(tmp_path, "priced"))))
    columns, row = found.tables[FRONT]
    assert row[columns.index("USD")] == "5.00"
    assert dict(found.tables["Headline numbers"][1:])["cost"].startswith("31.00 USD")


def test_where_queries_went_adds_up(tmp_path):
    run = read_run(build(tmp_path, "priced"))
    rows = page(report_html(run)).tables["Queries charged by use, 3,000 in all"]
    spent = {row[0]: int(row[2].replace(",", "")) for row in rows[1:]}
    assert spent["finished, on the front"] == 500
    assert sum(spent.values()) == run.charged == 3000


def test_failures_are_told(tmp_path):
    rows = page(report_html(read_run(build(tmp_path, "failed-only")))).tables["First lines"]
    assert rows[1:] == [["failed", "3", "ValueError: boom $x$"]]


def test_a_run_that_goes_on_says_so_and_as_of_when(tmp_path):
    run = read_run(build(tmp_path, "running"))
    assert (
        f"still running, files last changed {run.updated:%Y-%m-%d %H:%M:%S} UTC"
        in page(report_html(run)).text
    )


def test_text_of_a_run_is_only_text(tmp_path):
    evil = "</script><script>alert(1)</script><img src=x>"
    records = [
        replace(trial(0), config=config(0, note=evil)),
        trial(1, TrialStatus.FAILED, error=evil, val_accuracy=None),
        trial(2, val_accuracy=0.95),
    ]
    layout = write_run(tmp_path / "<b>run", records, space={"name": evil}, sampler=evil, method=evil)
    other = write_run(tmp_path / "<i>other", records, method=evil)
    html = report_html(read_run(layout), (read_run(other),))
    assert evil not in html
    assert "<b>run" not in html and "<i>other" not in html
    assert html.count("<script") == report_html(read_run(other), (read_run(layout),)).count("<script")
    assert page(html).loads == []
    assert evil in page(html).text


def test_the_methods_and_the_commands_that_repeat_it_are_there(tmp_path):
    run = read_run(build(tmp_path, "three"))
    found = page(report_html(run)).text
    assert "The teacher that was imitated is lenet5-digits" in found
    for command in ("front", "audit", f"trial --from {run.path}:u00001", f"report {run.path} -o report.html"):
        if command in ("front", "audit"):
            command = f"{command} {run.path}"
        assert f"raysys {command}\n" in found


def test_other_runs_are_compared_and_reasons_told(tmp_path):
    runs = []
    for seed, accuracies in enumerate([(0.5, 0.7), (0.4, 0.8), (0.6, 0.9)]):
        records = [trial(n, queries=100 * (n + 1), val_accuracy=a) for n, a in enumerate(accuracies)]
        records.append(replicate(2 + seed, of=0, queries=100, val_accuracy=accuracies[0]))
        runs.append(read_run(write_run(tmp_path / f"run{seed}", records, seed=seed)))
    waits = read_run(build(tmp_path, "none"))
    html = report_html(runs[0], (*runs[1:], waits))
    found = page(html)
    (row,) = found.tables["Searches: runs that differ by their seed only are one"][1:]
    assert (row[1], row[-2], row[-1]) == ("3", "0, 1, 2", "run0, run1, run2")
    assert "none has no finished trial" in found.text
    assert 'id="compare-attainment-chart"' in html
    assert "What differs between the runs" in found.tables
    assert "Compare" not in page(report_html(runs[0])).text


def test_the_same_run_gives_the_same_file(tmp_path):
    run = read_run(build(tmp_path, "many"))
    assert report_html(run) == report_html(run)
