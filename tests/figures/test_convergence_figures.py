import numpy as np
import pyarrow as pa
import pytest
from edge_runs import RUNS, book, build, trial, write_run

from raysys.figures.convergence import OVER, growth_alt, growth_figure, spread_alt, spread_figure
from raysys.figures.rungs import rungs_alt, rungs_figure
from raysys.figures.timeline import MOST_SPANS, timeline_alt, timeline_figure
from raysys.store.convergence import RUNGS, progress
from raysys.store.reader import read_run
from raysys.teacher.spans import Span, ledger_spans


def snapshot(tmp_path, name):
    return read_run(build(tmp_path, name))


def traces(figure):
    return {trace.name: trace for trace in figure.data}


@pytest.mark.parametrize("name", RUNS)
def test_every_edge_case_run_can_be_drawn(name, tmp_path):
    run = snapshot(tmp_path, name)
    lines = {name: progress(run)} if progress(run).ended else {}
    for over in OVER:
        for what in ("hypervolume", "front"):
            assert "NaN" not in growth_figure(lines, over, what).to_json()
            assert growth_alt(lines, over, what)
    for objective in run.manifest.goal.names:
        assert "NaN" not in spread_figure([run], objective).to_json()
        assert spread_alt([run], objective)
    assert "NaN" not in timeline_figure(run, None).to_json()
    assert timeline_alt(run, None)


def test_growth_is_a_step_line_over_what_was_paid(tmp_path):
    run = snapshot(tmp_path, "priced")
    found = progress(run)
    assert found.ended == 2, "an interrupted trial has not"
    for over, x in (
        ("trials", [1, 2]),
        ("queries", [500, 2000]),
        ("USD", [5, 20]),
        ("hours", found.hours.tolist()),
    ):
        (line,) = growth_figure({"priced": found}, over).data
        assert line.line.shape == "hv"
        np.testing.assert_allclose(line.x, x)
        np.testing.assert_allclose(line.y, found.hypervolume)


def test_names_of_runs_are_no_markup(tmp_path):
    run = read_run(write_run(tmp_path / "a<b>", [trial(0)]))
    names = [growth_figure({run.name: progress(run)}, "trials").data[0].name]
    names.append(spread_figure([run], "queries").data[0].name.partition(" (")[0])
    assert names == ["a&lt;b&gt;"] * 2


def test_runs_differ_by_more_than_colour_and_their_ends_are_marked(tmp_path):
    run = snapshot(tmp_path, "many")
    figure = growth_figure({f"run {n}": progress(run) for n in range(9)}, "trials", template="plotly_white")
    looks = {(line.line.color, line.line.dash, line.marker.symbol) for line in figure.data}
    assert len(looks) == 9
    assert figure.data[0].marker.size[-1] > 0
    assert not figure.data[0].marker.size[:-1].any()
    assert figure.layout.template.layout.paper_bgcolor == "white"


def test_a_line_has_its_changes_and_its_end_only(tmp_path):
    worse = [trial(n, queries=900, val_accuracy=0.5) for n in range(1, 50)]
    records = [trial(0, queries=100, val_accuracy=0.9), *worse]
    found = progress(read_run(write_run(tmp_path / "run", records)))
    (line,) = growth_figure({"run": found}, "trials").data
    assert line.x.tolist() == [1, 50]


def test_the_spread_is_the_share_of_trials_at_or_below_a_value(tmp_path):
    run = snapshot(tmp_path, "three")
    figure = spread_figure([run], "val_accuracy")
    (line,) = figure.data
    assert line.name == "three (n = 3)"
    np.testing.assert_allclose(line.x, [0.8, 0.8, 0.95, 0.96])
    np.testing.assert_allclose(line.y, [0, 1 / 3, 2 / 3, 1])
    assert figure.layout.xaxis.title.text == "val accuracy (more is better)"
    queries = spread_figure([run], "queries")
    assert queries.layout.xaxis.type == "log"
    assert "less is better" in queries.layout.xaxis.title.text


def test_values_that_are_not_finite_are_told(tmp_path):
    run = snapshot(tmp_path, "nan")
    assert spread_alt([run], "val_accuracy").endswith("nan 1 trials, median 0.86, 2 without a finite value.")
    assert not spread_figure([snapshot(tmp_path, "failed-only")], "val_accuracy").data


def test_thousands_of_trials_stay_small(tmp_path):
    records = [trial(n, queries=100 + n, val_accuracy=0.1 + n / 5000) for n in range(2500)]
    run = read_run(write_run(tmp_path / "run", records, steps=0))
    for figure in (
        growth_figure({"run": progress(run)}, "trials"),
        spread_figure([run], "queries"),
        timeline_figure(run, None),
    ):
        assert len(figure.to_json()) < 150_000
        assert all(len(trace.x) <= 1000 for trace in figure.data)


def test_a_lane_is_used_again_when_it_is_free(tmp_path):
    run = snapshot(tmp_path, "running")  # u00000 runs, u00001 was stopped, u00002 finished
    spans = [
        Span("u00001", 100.0, 160.0, True),
        Span("u00000", 130.0, 400.0, False),
        Span("u00002", 160.0, 220.0, True),
    ]
    figure = timeline_figure(run, spans)
    lanes = {name: trace.y.tolist() for name, trace in traces(figure).items()}
    assert lanes == {"finished": [1], "stopped": [1], "running": [2]}
    assert traces(figure)["finished"].base.tolist() == [1.0]
    assert figure.layout.xaxis.title.text == "minutes since 1970-01-01 00:01:40 UTC"
    patterns = [trace.marker.pattern.shape for trace in figure.data]
    assert len(set(patterns)) == 3
    assert traces(figure)["running"].customdata[0].tolist() == ["u00000", "270.0 s, until last heard of"]
    assert timeline_alt(run, spans).endswith("the latest 3 of 3 spans, at most 2 at once.")


def test_the_latest_spans_are_drawn(tmp_path):
    run = snapshot(tmp_path, "many")
    spans = [Span(f"u{n:05d}", float(n), n + 1.0, True) for n in range(MOST_SPANS + 7)]
    figure = timeline_figure(run, spans)
    assert sum(len(trace.x) for trace in figure.data) == MOST_SPANS
    assert f"latest {MOST_SPANS} of {MOST_SPANS + 7}" in timeline_alt(run, spans)


def test_without_a_ledger_work_is_laid_end_to_end_and_says_so(tmp_path):
    run = snapshot(tmp_path, "three objectives")
    figure = timeline_figure(run, None)
    assert figure.layout.xaxis.title.text == "seconds of work, laid end to end"
    assert traces(figure)["finished"].base.tolist() == [0, 30, 40, 90]
    assert set(traces(figure)["finished"].y) == {1}


def test_what_is_laid_end_to_end_is_in_one_lane(tmp_path):
    records = [trial(n, seconds=0.1 * n) for n in range(30)]
    figure = timeline_figure(read_run(write_run(tmp_path / "run", records)), None)
    assert set(traces(figure)["finished"].y) == {1}


def test_the_ledger_of_a_run_is_its_timeline(tmp_path):
    layout = build(tmp_path, "three")
    book(layout)
    spans = ledger_spans(layout.ledger, layout.filesystem)
    figure = timeline_figure(read_run(layout), spans)
    uids = [row[0] for row in traces(figure)["finished"].customdata]
    assert uids == ["u00000", "u00001", "u00002"]


def test_rungs_are_stacked_with_hatches(tmp_path):
    rows = [
        {"milestone": 250, "reached": 12, "went_on": 9, "stopped": 3},
        {"milestone": 500, "reached": 8, "went_on": 4, "stopped": 4},
    ]
    rungs = pa.Table.from_pylist(rows, schema=RUNGS)
    figure = rungs_figure(rungs)
    assert traces(figure)["went on"].y.tolist() == [9, 4]
    assert traces(figure)["stopped"].y.tolist() == [3, 4]
    assert traces(figure)["stopped"].marker.pattern.shape
    assert list(traces(figure)["stopped"].x) == ["250", "500"]
    assert rungs_alt(rungs).endswith("9 of 12 at 250 queries, 4 of 8 at 500 queries.")
    assert figure.layout.barmode == "stack"
