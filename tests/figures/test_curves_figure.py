import numpy as np
import pytest
from edge_runs import RUNS, build, report, trial, write_run

from raysys.figures.curve import AXES, curve_figure, loss_alt, loss_figure
from raysys.figures.curves import curves_alt, curves_figure
from raysys.store.curves import GAP, bands, curve_columns
from raysys.store.reader import read_run, reports_of
from raysys.store.schema import reports_table


def traces(figure):
    return {trace.name: trace for trace in figure.data}


def with_milestone(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0, queries=400)], steps=3)
    extra = report(0, 3, queries=400, val_accuracy=0.9, milestone=True, losses={"student": float("nan")})
    reports_of(layout).append(reports_table([extra]), 2)
    return read_run(layout)


@pytest.mark.parametrize("name", RUNS)
def test_every_edge_case_run_can_be_drawn(name, tmp_path):
    run = read_run(build(tmp_path, name))
    uids = run.trials["uid"].to_pylist()
    groups = (("pinned", uids[:2]), ("front", uids))
    for x in AXES:
        for y in curve_columns(run):
            assert "NaN" not in curves_figure(run, x, y, groups, window=3).to_json()
            assert curves_alt(run, x, y, groups)
        for uid in uids[:2]:
            assert "NaN" not in curve_figure(run, uid, x).to_json()
            assert "NaN" not in loss_figure(run, uid, x).to_json()


def test_milestones_are_marked_and_not_joined(tmp_path):
    shown = traces(curve_figure(with_milestone(tmp_path), "u00000"))
    np.testing.assert_array_equal(shown["val accuracy"].x, [133, 266, 400])
    assert shown["milestone"].mode == "markers"
    np.testing.assert_array_equal(shown["milestone"].x, [400])
    np.testing.assert_allclose(shown["milestone"].y, [0.9])


def test_a_curve_goes_over_steps_too(tmp_path):
    figure = curve_figure(read_run(build(tmp_path, "three")), "u00001", "step")
    np.testing.assert_array_equal(traces(figure)["val accuracy"].x, [0, 1, 2])
    assert figure.layout.xaxis.title.text == "step of the trial"


def test_losses_without_a_value_are_not_drawn(tmp_path):
    run = with_milestone(tmp_path)
    assert list(traces(loss_figure(run, "u00000"))) == ["cross_entropy"]
    np.testing.assert_allclose(loss_figure(run, "u00000").data[0].y, [1, 1 / 2, 1 / 3])
    assert loss_alt(run, "u00000") == "Losses of trial u00000 over queries, 4 reports: cross_entropy."


def test_bands_tell_how_many_trials_they_are_of(tmp_path):
    run = read_run(build(tmp_path, "many"))
    spread = bands(run, "queries", "val_accuracy")
    figure = curves_figure(run, "queries", "val_accuracy")
    median = traces(figure)["median of all trials"]
    np.testing.assert_array_equal(median.customdata[:, 0], spread.n)
    np.testing.assert_array_equal(median.y, spread.quantiles[2])
    assert figure.layout.xaxis.type == "log"
    assert "bands of 60 trials" in curves_alt(run, "queries", "val_accuracy")


def test_a_group_is_one_trace_whose_curves_are_not_joined(tmp_path):
    run = read_run(build(tmp_path, "three"))
    groups = (("front", ("u00000", "u00002")),)
    line = traces(curves_figure(run, "queries", "val_accuracy", groups))["front (2)"]
    np.testing.assert_array_equal(line.x, [166, 333, 500, np.nan, 500, 1000, 1500])
    assert line.customdata.tolist() == ["u00000"] * 3 + [""] + ["u00002"] * 3
    assert curves_alt(run, "step", "val_accuracy", groups).endswith("lines of 2 trials (front).")


def test_smoothed_lines_have_the_raw_reports_beside_them(tmp_path):
    run = read_run(build(tmp_path, "three"))
    shown = traces(curves_figure(run, "step", "val_accuracy", (("pinned", ("u00000",)),), window=3))
    np.testing.assert_allclose(shown["pinned, median of 3 reports"].y, [0.51, 0.52, 0.53])
    np.testing.assert_allclose(shown["pinned, raw"].y, [0.5, 0.52, 0.54])
    assert shown["pinned, raw"].mode == "markers"


def test_the_gap_has_a_line_at_zero(tmp_path):
    figure = curves_figure(read_run(build(tmp_path, "three")), "step", GAP)
    assert [shape.y0 for shape in figure.layout.shapes] == [0]
    assert figure.layout.yaxis.title.text == "val accuracy less agreement"


def test_many_points_of_a_group_go_to_webgl(tmp_path):
    reports = [report(0, step) for step in range(1001)]
    layout = write_run(tmp_path / "large", [trial(0)], steps=0)
    reports_of(layout).append(reports_table(reports), 2)
    figure = curves_figure(read_run(layout), "step", "val_accuracy", (("pinned", ("u00000",)),))
    assert [trace.type for trace in figure.data] == ["scatter", "scatter", "scatter", "scattergl"]
