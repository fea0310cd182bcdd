import math
from dataclasses import replace

import numpy as np
import pytest
from edge_runs import RUNS, build, config, report, trial, write_run

from raysys.figures.curve import curve_alt, curve_figure
from raysys.figures.front import front_alt, front_figure
from raysys.records import TrialStatus
from raysys.store.reader import read_run, reports_of, trials_of
from raysys.store.schema import reports_table, trials_table


def snapshot(tmp_path, name):
    return read_run(build(tmp_path, name))


def traces(figure):
    return {trace.name: trace for trace in figure.data}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("kind", ["final", "anytime"])
def test_every_edge_case_run_can_be_drawn(name, kind, tmp_path):
    run = snapshot(tmp_path, name)
    assert "NaN" not in front_figure(run, kind).to_json()
    assert front_alt(run, kind)


def test_the_front_is_a_step_line_over_log_queries_with_knee_and_teacher(tmp_path):
    figure = front_figure(snapshot(tmp_path, "three"))
    front = traces(figure)["front"]
    assert front.line.shape == "hv"
    assert figure.layout.xaxis.type == "log"
    np.testing.assert_array_equal(front.x, [500, 1000, 1500])
    np.testing.assert_allclose(front.y, [0.8, 0.95, 0.96])
    assert list(traces(figure)["knee"].x) == [1000]
    assert [shape.y0 for shape in figure.layout.shapes] == [0.985]


def test_hovering_tells_the_trial_and_the_parameters_that_differ(tmp_path):
    figure = front_figure(snapshot(tmp_path, "three"))
    assert traces(figure)["front"].customdata[1].tolist() == ["u00001", "", "g_steps = 11"]


def test_seeds_are_one_point_with_their_spread(tmp_path):
    run = snapshot(tmp_path, "seeds")
    front = traces(front_figure(run))["front"]
    np.testing.assert_allclose(front.y, [0.85, 0.91])
    np.testing.assert_allclose(front.error_y.array, [0.1 / 2**0.5, 0.04 / 2**0.5])
    assert front.customdata[0].tolist()[:2] == ["u00000", ", mean of 2 seeds"]
    assert traces(front_figure(snapshot(tmp_path, "three")))["front"].error_y.array is None
    assert front_alt(run).startswith("Pareto front of 2 points among 4 finished trials")


def test_dominated_points_are_faint_and_stopped_ones_hollow(tmp_path):
    run = snapshot(tmp_path, "many")
    clouds = traces(front_figure(run))
    counts = run.counts()
    assert len(clouds["dominated"].x) + len(clouds["front"].x) == counts[TrialStatus.FINISHED]
    assert len(clouds["stopped"].x) == counts[TrialStatus.STOPPED]
    assert clouds["stopped"].marker.symbol == "circle-open"
    assert clouds["dominated"].opacity < 0.5


def test_trials_that_did_not_finish_are_told_by_their_state_and_what_does_not_count_is_said(tmp_path):
    states = [TrialStatus.STOPPED, TrialStatus.INTERRUPTED, TrialStatus.RUNNING, TrialStatus.FAILED]
    records = [trial(number, state) for number, state in enumerate(states, start=2)]
    records += [trial(0, queries=10), trial(1, queries=20, val_accuracy=0.3)]
    space = {"name": "digits", "limits": {"val_accuracy": 0.5}}
    figure = front_figure(read_run(write_run(tmp_path / "run", records, space=space)))
    names = [trace.name for trace in figure.data]
    assert names == ["not counted", "stopped", "interrupted", "running", "failed", "front"]
    symbols = [trace.marker.symbol for trace in figure.data[:-1]]
    assert len(set(symbols)) == len(symbols)


def test_a_share_of_the_points_off_the_front_is_the_best_of_them(tmp_path):
    run = snapshot(tmp_path, "many")
    score = np.concatenate([run.trials["val_accuracy"].to_numpy()])
    assert [trace.name for trace in front_figure(run, share=0).data] == ["front", "knee"]
    shown = front_figure(run, share=0.2)
    drawn = np.concatenate([trace.y for trace in shown.data if trace.name in ("dominated", "stopped")])
    assert drawn.min() >= np.quantile(score, 0.8)
    np.testing.assert_array_equal(traces(shown)["front"].x, traces(front_figure(run))["front"].x)


def test_with_a_third_objective_the_line_joins_only_what_is_best_for_its_queries(tmp_path):
    drawn = traces(front_figure(snapshot(tmp_path, "three objectives")))
    assert len(drawn["front"].x) == 4
    assert drawn["front"].mode == "markers"
    np.testing.assert_array_equal(drawn["best score for its queries"].x, [500, 1000, 1500])
    np.testing.assert_allclose(drawn["best score for its queries"].y, [0.8, 0.82, 0.9])
    assert "30.0 s" in drawn["front"].customdata[0][2]


def test_within_a_limit_on_seconds_others_are_on_the_front(tmp_path):
    records = [
        trial(0, queries=100, val_accuracy=0.9, seconds=100.0),
        trial(1, queries=200, val_accuracy=0.8, seconds=5.0),
        trial(2, queries=300, val_accuracy=0.7, seconds=5.0),
    ]
    drawn = traces(front_figure(read_run(write_run(tmp_path / "run", records)), max_seconds=10))
    assert list(drawn["front"].x) == [200]
    assert list(drawn["front beyond the limits"].x) == [100]
    assert list(drawn["dominated"].x) == [300]


def test_pinned_trials_are_ringed_and_labelled_at_their_points(tmp_path):
    ring = traces(front_figure(snapshot(tmp_path, "seeds"), pins=("u00002", "u00000", "u00001")))["pinned"]
    np.testing.assert_allclose(ring.y, [0.85, 0.91])
    assert ring.text == ("u00002, u00000", "u00001")
    ring = front_figure(snapshot(tmp_path, "nan"), pins=("u00000", "u00002", "gone")).data[-1]
    assert ring.name == "pinned (1 of 3 have a score)"
    anytime = front_figure(snapshot(tmp_path, "three"), "anytime", pins=("u00001",)).data[-1]
    assert list(anytime.x) == [1000]


def test_text_of_a_run_is_no_markup(tmp_path):
    records = [replace(trial(n), config=config(n, schedule=f"<b>{n}</b>")) for n in range(2)]
    drawn = traces(front_figure(read_run(write_run(tmp_path / "run", records))))
    assert "&lt;b&gt;0&lt;/b&gt;" in drawn["front"].customdata[0][2]


def test_limits_cut_the_front_and_are_drawn(tmp_path):
    figure = front_figure(snapshot(tmp_path, "three"), max_queries=1200, min_accuracy=0.9)
    assert list(traces(figure)["front"].x) == [1000]
    assert list(traces(figure)["front beyond the limits"].x) == [500, 1500]
    shades = [shape for shape in figure.layout.shapes if shape.fillcolor]
    lines = [(shape.x0, shape.y0) for shape in figure.layout.shapes if not shape.fillcolor]
    assert lines == [(0, 0.985), (1200, 0), (0, 0.9)]
    assert (shades[0].x0, shades[1].y1) == (1200, 0.9)
    assert 10 ** figure.layout.xaxis.range[1] < 2000


def test_points_without_a_finite_accuracy_are_not_drawn(tmp_path):
    figure = front_figure(snapshot(tmp_path, "nan"))
    assert [trace.name for trace in figure.data] == ["front"]
    assert all(math.isfinite(y) for y in figure.data[0].y)


def test_thousands_of_points_go_to_webgl_and_stay_small(tmp_path):
    records = [trial(n, queries=100 + n, val_accuracy=0.9 - n / 4000) for n in range(1500)]
    layout = write_run(tmp_path / "large", [])
    trials_of(layout).append(trials_table(records), trials_of(layout).next_number())
    figure = front_figure(read_run(layout))
    assert len(traces(figure)["dominated"].x) == 1499
    assert traces(figure)["dominated"].type == "scattergl"
    assert len(figure.to_json()) < 150_000


def test_of_very_many_points_off_the_front_a_named_sample_is_drawn(tmp_path):
    reports = [report(0, step, queries=100 + step, val_accuracy=0.9 - step / 1e6) for step in range(12001)]
    layout = write_run(tmp_path / "large", [trial(0)], steps=0)
    reports_of(layout).append(reports_table(reports), reports_of(layout).next_number())
    shown = traces(front_figure(read_run(layout), "anytime"))
    assert len(shown["reports (10,000 of 12,000)"].x) == 10000
    assert list(shown["front"].x) == [100]


def test_a_figure_for_a_file_has_its_own_template_and_repeats_exactly(tmp_path):
    run = snapshot(tmp_path, "many")
    figure = front_figure(run, template="plotly_white")
    assert figure.layout.template.layout.paper_bgcolor == "white"
    assert figure.to_json() == front_figure(run, template="plotly_white").to_json()


def test_the_curve_shows_one_trial_over_its_queries(tmp_path):
    run = snapshot(tmp_path, "three")
    figure = curve_figure(run, "u00001")
    np.testing.assert_array_equal(traces(figure)["val accuracy"].x, [333, 666, 1000])
    np.testing.assert_allclose(traces(figure)["agreement"].y, [0.4, 0.42, 0.44])
    assert "54.0% at 1,000 queries" in curve_alt(run, "u00001")


def test_a_trial_without_reports_says_so(tmp_path):
    run = read_run(write_run(tmp_path / "run", [trial(0)], steps=0))
    assert curve_alt(run, "u00000") == "Trial u00000 has no reports yet."
    assert len(curve_figure(run, "u00000").data[0].x) == 0


def test_words_name_both_ends_of_the_front(tmp_path):
    assert front_alt(snapshot(tmp_path, "three")) == (
        "Pareto front of 3 points among 3 finished trials: "
        "val accuracy from 80.0% at 500 queries to 96.0% at 1,500 queries."
    )


def test_without_labels_agreement_is_drawn_and_no_accuracy_and_no_teacher(tmp_path):
    run = snapshot(tmp_path, "no labels")
    figure = front_figure(run)
    np.testing.assert_allclose(traces(figure)["front"].y, [0.7, 0.9])
    assert figure.layout.yaxis.title.text == "student's agreement, more is better"
    assert "} agreement<br>" in traces(figure)["front"].hovertemplate
    assert not figure.layout.shapes
    assert [trace.name for trace in curve_figure(run, "u00001").data] == ["agreement"]
    assert front_alt(run).endswith("agreement from 70.0% at 500 queries to 90.0% at 1,000 queries.")
    assert curve_alt(run, "u00001").startswith("Agreement of trial u00001")
