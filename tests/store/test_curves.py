import numpy as np
import pytest
from edge_runs import RUNS, build, report, trial, write_run

from raysys.store.curves import (
    AXES,
    GAP,
    bands,
    curve_columns,
    moving_median,
    plateaus,
    read_curves,
    sparklines,
)
from raysys.store.reader import read_run, reports_of
from raysys.store.schema import reports_table


def run_of(tmp_path, *reports):
    """A run with these reports of its trials."""
    uids = {one.uid for one in reports}
    layout = write_run(tmp_path / "run", [trial(n) for n in range(len(uids))], steps=0)
    reports_of(layout).append(reports_table(reports), 2)
    return read_run(layout)


def curve(number, *scores, queries=None, **values):
    return [
        report(number, step, val_accuracy=score, queries=(queries or range(100, 9999, 100))[step], **values)
        for step, score in enumerate(scores)
    ]


@pytest.mark.parametrize("name", RUNS)
def test_every_edge_case_run_has_bands(name, tmp_path):
    run = read_run(build(tmp_path, name))
    for x in AXES:
        for y in curve_columns(run):
            spread = bands(run, x, y)
            assert spread.quantiles.shape == (5, len(spread.grid))
            assert (np.diff(spread.quantiles, axis=0) >= 0).all()
            assert (spread.n <= spread.trials).all()
            assert bool(spread.trials) == bool(len(spread.grid))


def test_bands_are_the_quantiles_of_what_trials_had_reached_by_then(tmp_path):
    run = run_of(tmp_path, *(one for n in range(5) for one in curve(n, 0.1 * n, 0.1 * n + 0.3)))
    spread = bands(run, "step", "val_accuracy")
    np.testing.assert_array_equal(spread.grid, [0, 1])
    expected = np.quantile(0.1 * np.arange(5), [0.1, 0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(spread.quantiles, np.stack([expected, expected + 0.3], axis=1))
    np.testing.assert_array_equal(spread.n, [5, 5])


def test_a_trial_counts_from_its_first_report_to_its_last(tmp_path):
    run = run_of(
        tmp_path,
        *curve(0, 0.2, 0.3, 0.4, queries=[10, 100, 1000]),
        *curve(1, 0.6, 0.8, queries=[100, 200]),
    )
    spread = bands(run, "queries", "val_accuracy")
    at = np.searchsorted(spread.grid, [50, 150, 500, 1000 * (1 - 1e-9)])
    np.testing.assert_array_equal(spread.n[at], [1, 2, 1, 1])
    np.testing.assert_allclose(spread.quantiles[2, at], [0.2, (0.3 + 0.6) / 2, 0.3, 0.4])


def test_what_is_not_finite_is_left_out_and_counted_and_milestones_are_no_part(tmp_path):
    run = run_of(
        tmp_path,
        *curve(0, 0.2, float("nan"), 0.4),
        report(0, 3, val_accuracy=0.9, milestone=True),
        report(0, 4, val_accuracy=None, milestone=True),
    )
    curves = read_curves(run, "step", "val_accuracy")
    np.testing.assert_array_equal(curves.x, [0, 2])
    assert curves.excluded == 1
    assert bands(run, "step", "val_accuracy").excluded == 1


def test_curves_are_of_the_trials_that_were_named(tmp_path):
    run = run_of(tmp_path, *curve(0, 0.1), *curve(1, 0.2, 0.3), *curve(2, 0.4))
    curves = read_curves(run, "queries", "val_accuracy", ["u00002", "u00001", "u09999"])
    assert curves.uids == ("u00001", "u00002")
    np.testing.assert_array_equal(curves.of(0)[1], [0.2, 0.3])
    np.testing.assert_array_equal(curves.of(1)[1], [0.4])


def test_the_gap_is_what_the_student_knows_better_than_its_teacher(tmp_path):
    run = run_of(tmp_path, *curve(0, 0.5, 0.7, agreement=0.6))
    assert curve_columns(run) == ["val_accuracy", "agreement", GAP, "loss.cross_entropy"]
    np.testing.assert_allclose(read_curves(run, "step", GAP).y, [-0.1, 0.1])


def test_without_labels_there_is_no_accuracy_and_no_gap(tmp_path):
    assert curve_columns(read_run(build(tmp_path, "no labels"))) == ["agreement", "loss.cross_entropy"]


def test_a_moving_median_ignores_single_jumps():
    np.testing.assert_allclose(moving_median(np.array([1.0, 9, 1, 2, 3]), 3), [5, 1, 2, 2, 2.5])
    np.testing.assert_allclose(moving_median(np.array([4.0]), 5), [4])
    np.testing.assert_allclose(moving_median(np.array([4.0, 2.0]), 1), [4, 2])


def test_a_trial_could_have_ended_when_it_was_near_its_best(tmp_path):
    run = run_of(tmp_path, *curve(0, 0.5, 0.895, 0.9, 0.7), *curve(1, 0.1, 0.2))
    assert plateaus(run, ("u00000", "u00001", "u00009")).to_pylist() == [
        {"uid": "u00000", "last": 0.7, "best": 0.9, "near best at": 200, "queries": 400, "spare": 0.5},
        {"uid": "u00001", "last": 0.2, "best": 0.2, "near best at": 200, "queries": 200, "spare": 0.0},
    ]


def test_sparklines_keep_both_ends_and_stay_short(tmp_path):
    run = run_of(tmp_path, *curve(0, *np.linspace(0, 1, 50)), *curve(1, 0.5), *curve(2, float("nan")))
    lines = sparklines(run, ["u00001", "u00000", "u00002", "u00009"], points=5).to_pylist()
    assert lines[0] == [0.5]
    np.testing.assert_allclose(lines[1], [0, 12 / 49, 24 / 49, 37 / 49, 1], atol=0.021)
    assert lines[1][0] == 0
    assert lines[1][-1] == 1
    assert lines[2:] == [None, None]
