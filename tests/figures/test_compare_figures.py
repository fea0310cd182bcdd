"""Searches side by side: what the figures and their words say."""

from pathlib import Path

import numpy as np
import pytest
from edge_runs import RUNS, build, trial, write_run

from raysys.figures.compare import ahead_text, attained_difference
from raysys.figures.comparison import Comparison, compare_runs
from raysys.store.reader import Snapshot, read_run
from raysys.store.searches import versus

BUDGETS = (100, 400, 1600)


def search(folder: Path, sampler: str, *runs: tuple[float, float, float], seed: int = 0) -> list[Snapshot]:
    """Runs of one search; each has the same budgets, and these accuracies."""
    found = []
    for number, accuracies in enumerate(runs, start=seed):
        ends = enumerate(zip(BUDGETS, accuracies, strict=True))
        records = [trial(n, queries=queries, val_accuracy=accuracy) for n, (queries, accuracy) in ends]
        found.append(
            read_run(write_run(folder / f"{sampler}{number}", records, sampler=sampler, seed=number))
        )
    return found


@pytest.fixture
def two(tmp_path) -> Comparison:
    """One search is ahead at 100 queries, level at 400 and behind at 1,600, in the median."""
    ours = search(tmp_path, "tpe", (0.3, 0.6, 0.95), (0.3, 0.6, 0.90), (0.2, 0.5, 0.85), (0.1, 0.7, 0.9))
    theirs = search(tmp_path, "random", (0.4, 0.6, 0.8), (0.5, 0.6, 0.8), (0.3, 0.6, 0.7))
    return compare_runs([*ours, *theirs])


def test_the_band_lies_between_what_three_quarters_and_a_quarter_attain(two):
    assert two.attainment is not None
    traces = {trace.name: trace for trace in two.attainment.figure.data}
    np.testing.assert_allclose(traces["1: tpe (n = 4): half"].y, [0.3, 0.6, 0.9, 0.9])
    np.testing.assert_allclose(traces["1: tpe (n = 4): 75 %"].y, [0.2, 0.6, 0.9, 0.9])
    np.testing.assert_allclose(traces["1: tpe (n = 4): 25 to 75 %"].y, [0.3, 0.7, 0.95, 0.95])
    assert two.attainment.alt.endswith("search 1: tpe, n = 4; search 2: random, n = 3.")


def test_a_budget_that_too_few_runs_can_pay_is_not_attained(tmp_path):
    runs = search(tmp_path, "tpe", (0.3, 0.6, 0.9), (0.3, 0.6, 0.9))
    late = [trial(0, queries=1600, val_accuracy=0.8)]
    runs += [read_run(write_run(tmp_path / f"late{n}", late, trials=3, seed=7 + n)) for n in range(3)]
    found = compare_runs(runs)
    assert found.attainment is not None
    half = next(trace for trace in found.attainment.figure.data if trace.name.endswith("half"))
    np.testing.assert_array_equal(np.isnan(half.y), [True, True, False, False])


def test_where_which_search_is_ahead(two):
    first, other = two.searches
    budgets, above = attained_difference(first, other)
    np.testing.assert_array_equal(budgets, BUDGETS)
    np.testing.assert_allclose(above, [0.1, 0.0, -0.1])
    assert ahead_text(first, other, "2: random") == (
        "2: random: ahead of search 1 from 100 to 400 queries; level with search 1 from 400 to 1,600 queries;"
        " behind search 1 from 1,600 on queries."
    )
    assert two.difference is not None
    assert two.difference.alt == " ".join(two.ahead)


def test_each_run_is_a_point_and_few_have_no_box(tmp_path, two):
    assert two.hypervolume is not None
    boxes = two.hypervolume.figure.data
    assert [len(box.x) for box in boxes] == [4, 3]
    np.testing.assert_allclose(boxes[0].x, [front.hypervolume for front in two.searches[0].fronts])
    lone = compare_runs(search(tmp_path / "more", "tpe", (0.3, 0.6, 0.9)))
    assert lone.hypervolume is not None
    assert lone.hypervolume.figure.data[0].line.width == 0


def test_pairs_of_seeds_where_both_have_the_same(tmp_path):
    ours = search(tmp_path, "tpe", (0.3, 0.6, 0.9), (0.2, 0.5, 0.8), (0.1, 0.4, 0.7))
    theirs = search(tmp_path, "random", (0.2, 0.5, 0.8), (0.2, 0.5, 0.8), (0.2, 0.5, 0.8))
    first, other = compare_runs([*ours, *theirs]).searches
    against = versus(other, first)
    assert (against.paired, against.wins, against.ties, against.losses) == (True, 1, 1, 1)
    assert against.difference == pytest.approx(other.hypervolume.mean - first.hypervolume.mean)
    apart = compare_runs([*ours, *search(tmp_path, "gp", *[(0.2, 0.5, 0.8)] * 3, seed=2)]).searches
    against = versus(apart[1], apart[0])
    assert (against.paired, against.wins, against.ties, against.losses) == (False, 1, 0, 0)
    few = compare_runs([*ours, *search(tmp_path, "nsga2", (0.2, 0.5, 0.8))]).searches
    assert versus(few[1], few[0]).interval is None


def test_runs_of_one_seed_count_as_one_pair(tmp_path):
    ours = search(tmp_path, "tpe", (0.3, 0.6, 0.9), (0.2, 0.5, 0.8), (0.1, 0.4, 0.7))
    again = search(tmp_path / "again", "tpe", (0.3, 0.6, 0.9))
    theirs = search(tmp_path, "random", (0.2, 0.5, 0.8), (0.2, 0.5, 0.8), (0.2, 0.5, 0.8))
    first, other = compare_runs([*ours, *again, *theirs]).searches
    assert first.seeds == (0, 0, 1, 2)
    against = versus(other, first)
    assert (against.paired, against.wins + against.ties + against.losses) == (True, 3)


def test_of_many_rows_those_with_most_seeds_then_the_best_are_shown(tmp_path):
    records = [trial(n, queries=100 + n, val_accuracy=0.5 + n / 1000) for n in range(250)]
    found = compare_runs([read_run(write_run(tmp_path / "run", records))])
    assert found.methods.num_rows == 201
    assert found.methods["row"].to_pylist()[:3] == [None, 1, 2]
    assert min(float(cell.split()[0]) for cell in found.methods["val %"].to_pylist()[1:]) == 55.0
    assert "Showing 200 of 250 rows: those with the most seeds, then the best." in found.methods_notes


@pytest.mark.parametrize("name", RUNS)
def test_every_edge_case_run_compares_with_another(name, tmp_path):
    runs = [read_run(build(tmp_path, one)) for one in dict.fromkeys((name, "three", "seeds"))]
    found = compare_runs(runs, "plotly_white")
    assert len(found.runs) + len(found.left_out) >= len(runs)
    for chart in (found.fronts, found.attainment, found.difference, found.hypervolume):
        assert chart is None or (chart.alt and "NaN" not in chart.figure.to_json())
    assert found.searches_table.num_rows == len(found.searches)
    assert found.methods.num_rows == 1 + len(found.rows)


def test_what_plotly_would_take_for_markup_is_shown_as_it_is(tmp_path):
    run = read_run(write_run(tmp_path / "a<b>&c", [trial(0)]))
    found = compare_runs([run])
    assert found.fronts is not None
    assert found.fronts.figure.data[0].name == "a&lt;b&gt;&amp;c (search 1)"
