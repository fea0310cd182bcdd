import numpy as np
import pytest
from edge_runs import RUNS, build, trial, write_run

from raysys.figures.budget import budget_alt, budget_figure, gain_figure
from raysys.store.budgets import curves
from raysys.store.reader import read_run


def traces(figure):
    return {trace.name: trace for trace in figure.data}


def three_seeds(tmp_path):
    return [
        read_run(
            write_run(
                tmp_path / f"seed-{seed}",
                [
                    trial(0, queries=100 + seed, val_accuracy=0.5),
                    trial(1, queries=1000, val_accuracy=0.8 + seed / 20),
                ],
                seed=seed,
            )
        )
        for seed in range(3)
    ]


@pytest.mark.parametrize("name", RUNS)
def test_every_edge_case_run_can_be_drawn(name, tmp_path):
    for kind in ("final", "anytime"):
        found = curves([read_run(build(tmp_path, name))], kind)
        assert "NaN" not in budget_figure(found, 800, 0.5).to_json()
        assert "NaN" not in gain_figure(found).to_json()
        assert budget_alt(found)


def test_the_line_of_a_run_rises_in_steps_and_goes_on_to_the_largest_budget(tmp_path):
    found = curves([read_run(build(tmp_path, name)) for name in ("three", "seeds")])
    drawn = traces(budget_figure(found))
    assert list(drawn["three"].x) == [500, 1000, 1500, 1500]
    assert list(drawn["three"].y) == [0.8, 0.95, 0.96, 0.96]
    assert list(drawn["seeds"].x) == [500.5, 1000, 1500]
    assert drawn["seeds"].line.shape == "hv"
    assert drawn["seeds"].line.dash != drawn["three"].line.dash


def test_three_seeds_are_a_median_with_its_band_and_n(tmp_path):
    runs = three_seeds(tmp_path)
    drawn = traces(budget_figure(curves(runs)))
    median = drawn["seed-0 and 2 more seeds (median of 3)"]
    assert list(median.x) == [101, 1000, 1000]
    np.testing.assert_allclose(median.y, [0.5, 0.85, 0.85])
    band = drawn["seed-0 and 2 more seeds: 25-75 % of 3 seeds"]
    assert (band.fill, list(band.x)) == ("tonexty", [100, 101, 102, 1000, 1000])
    assert band.y[2] == 0.5 and band.y[3] == 0.8
    assert band.y[0] < 0.5  # two have nothing yet: open below
    np.testing.assert_allclose(drawn[f"{band.name}, upper edge"].y, [0.5, 0.5, 0.5, 0.9, 0.9])
    assert set(drawn["seed-0 and 2 more seeds: each seed"].customdata) == {run.name for run in runs}
    assert not any("%" in trace.name for trace in budget_figure(curves(runs[:2])).data)


def test_limits_are_drawn(tmp_path):
    found = curves([read_run(build(tmp_path, "three"))])
    lines = [shape for shape in budget_figure(found, 1200, 0.9).layout.shapes if not shape.fillcolor]
    assert [(line.x0, line.y0) for line in lines] == [(0, 0.985), (1200, 0), (0, 0.9)]


def test_gains_are_told_with_their_unit(tmp_path):
    figure = gain_figure(curves([read_run(build(tmp_path, "three"))]))
    assert figure.layout.yaxis.title.text == "percentage points per 1,000 more queries"
    (line,) = figure.data
    assert list(line.x) == [500, 1000, 1500]
    np.testing.assert_allclose(line.y, [30, 2, 2])
    assert list(line.customdata) == [1000, 1500, 1500]


def test_words_tell_both_ends_and_of_how_many_seeds(tmp_path):
    assert budget_alt(curves(three_seeds(tmp_path))) == (
        "Best score attained within a budget of queries. "
        "seed-0 and 2 more seeds (median of 3): 50.0% for 101 queries to 85.0% for 1,000 queries."
    )
    assert "no student" in budget_alt(curves([read_run(build(tmp_path, "none"))]))
