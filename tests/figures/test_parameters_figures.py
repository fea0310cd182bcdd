import json
from dataclasses import replace

import numpy as np
import pytest
from edge_runs import SPACE, write_run
from edge_runs import searched as drawn_trials

from raysys.figures.pair_map import MOST_CELLS, cells, map_alt, map_figure
from raysys.figures.parallel import parallel_figure
from raysys.figures.parameters import (
    MOST_DRAWN,
    drawn,
    importance_alt,
    importance_figure,
    slice_alt,
    slice_figure,
)
from raysys.space.load import to_json
from raysys.store.parameters import importance_json, searched
from raysys.store.reader import read_run

NAMES = ["query_budget", "passes", "optimizer", "lr_sgd"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs") / "run"
    return read_run(write_run(root, drawn_trials(40), space=to_json(SPACE)))


@pytest.fixture(scope="module")
def found(run):
    return searched(run)


def test_importances_are_bars_by_objective_the_greatest_on_top(run):
    told = importance_json(run)
    figure = importance_figure(told)
    bars = {trace.name: trace for trace in figure.data}
    assert set(bars) == {"val accuracy (n = 40)", "queries (n = 40)"}
    accuracy = bars["val accuracy (n = 40)"]
    assert accuracy.y[-1] == "passes", "the last is on top"
    np.testing.assert_allclose(
        accuracy.x, [row["importance"]["val_accuracy"] for row in told["parameters"][::-1]]
    )
    assert len({trace.marker.pattern.shape for trace in figure.data}) == 2
    assert "for val accuracy most by passes" in importance_alt(told)
    assert "for queries most by query_budget" in importance_alt(told)


def test_of_many_parameters_the_most_important_are_drawn(run):
    told = importance_json(run)
    row = told["parameters"][0]
    little = dict.fromkeys(row["importance"], 1e-09)
    many = [*told["parameters"], *({**row, "name": f"p{n}", "importance": little} for n in range(20))]
    shown = importance_figure({**told, "parameters": many}).data[0].y
    assert set(NAMES) <= set(shown)


def test_names_of_parameters_are_no_markup(found):
    odd = "<b>lr</b> %{x}"
    run = replace(
        found,
        parameters={**found.parameters, odd: found.parameters["lr_sgd"]},
        values={**found.values, odd: found.values["lr_sgd"]},
    )
    shown = slice_figure(run, odd, "val_accuracy", drawn(run))
    assert shown.layout.xaxis.title.text == "&lt;b&gt;lr&lt;/b&gt; %{x}"
    drawings = (shown, map_figure(run, odd, "passes"))
    assert all(odd not in drawing.data[0].hovertemplate for drawing in drawings)


def test_a_slice_is_on_the_scale_of_its_parameter_with_the_front_marked(found):
    figure = slice_figure(found, "lr_sgd", "val_accuracy", drawn(found))
    others, front = figure.data
    assert figure.layout.xaxis.type == "log"
    active = ~np.isnan(found.values["lr_sgd"])
    assert len(others.x) + len(front.x) == active.sum() < 40
    assert sorted(front.customdata[:, 0]) == sorted(found.uids[found.front & active])
    assert front.marker.symbol != others.marker.symbol
    assert slice_figure(found, "passes", "queries", drawn(found)).layout.yaxis.type == "log"
    assert f"{active.sum()} of {active.sum()} finished trials that have it" in slice_alt(
        found, "lr_sgd", "val_accuracy", drawn(found)
    )


def test_choices_are_named_and_their_points_stand_side_by_side(found):
    figure = slice_figure(found, "optimizer", "val_accuracy", drawn(found))
    assert list(figure.layout.xaxis.ticktext) == ["sgd", "adamw"]
    x = np.concatenate([trace.x for trace in figure.data])
    told = np.concatenate([trace.customdata[:, 1] for trace in figure.data])
    assert (np.round(x) == (told == "adamw")).all()
    assert len(np.unique(x)) > 2


def test_many_trials_are_a_sample_with_the_whole_front(tmp_path):
    run = read_run(
        write_run(tmp_path / "run", drawn_trials(2000), steps=0, space=to_json(SPACE), trials=2000)
    )
    found = searched(run)
    rows = drawn(found)
    assert len(rows) == len(np.unique(rows)) == MOST_DRAWN
    assert set(np.flatnonzero(found.front)) <= set(rows)
    whole, part = found.reached["val_accuracy"], found.reached["val_accuracy"][rows]
    np.testing.assert_allclose(
        np.quantile(part, [0.1, 0.5, 0.9]), np.quantile(whole, [0.1, 0.5, 0.9]), atol=0.03
    )
    for figure in (
        slice_figure(found, "passes", "val_accuracy", rows),
        parallel_figure(found, NAMES, rows),
        map_figure(found, "query_budget", "lr_sgd"),
    ):
        assert len(figure.to_json()) < 300_000


def test_parallel_axes_name_choices_and_put_absent_values_below(found):
    (trace,) = parallel_figure(found, NAMES, drawn(found)).data
    axes = {axis.label: axis for axis in trace.dimensions}
    assert list(axes) == [*NAMES, "val accuracy", "queries"]
    assert axes["optimizer"].ticktext == ("sgd", "adamw")
    lr = axes["lr_sgd"]
    assert lr.ticktext[0] == "without"
    absent = np.isnan(found.values["lr_sgd"][drawn(found)])
    assert (np.array(lr.values)[absent] == lr.tickvals[0]).all()
    assert (np.array(lr.values)[~absent] >= -3).all()
    assert list(axes["passes"].ticktext) == ["0", "5", "10", "15", "20"]
    np.testing.assert_allclose(10 ** np.array(axes["queries"].values), found.reached["queries"][drawn(found)])


def test_a_cell_is_the_median_of_its_trials_and_empty_without(found):
    median, counts = cells(found, "passes", "optimizer")
    assert median.shape == counts.shape == (2, 5)
    here = (found.values["passes"] == 20) & (found.values["optimizer"] == 1)
    assert counts[1, 4] == here.sum()
    assert median[1, 4] == pytest.approx(np.median(found.reached["val_accuracy"][here]))
    assert (np.isnan(median) == (counts == 0)).all()
    assert counts.sum() == 40


def test_a_map_of_a_conditional_parameter_has_the_trials_with_it(found):
    _, counts = cells(found, "query_budget", "lr_sgd")
    assert counts.sum() == (~np.isnan(found.values["lr_sgd"])).sum()
    figure = map_figure(found, "query_budget", "lr_sgd")
    assert figure.data[0].customdata.shape == (*counts.shape, 3)
    assert figure.layout.xaxis.ticktext[0] == "100"
    assert figure.layout.xaxis.ticktext[-1] == "2000"
    assert not figure.data[0].hoverongaps
    assert "NaN" not in json.dumps(json.loads(figure.to_json())["data"][0]["z"])
    assert f"{counts.sum()} finished trials" in map_alt(found, "query_budget", "lr_sgd")


def test_a_map_has_few_cells_for_few_trials_and_never_too_many(found):
    assert cells(found, "query_budget", "lr_sgd")[0].shape == (5, 5)
    many = replace(
        found,
        values={name: np.tile(values, 1000) for name, values in found.values.items()},
        reached={name: np.tile(values, 1000) for name, values in found.reached.items()},
    )
    assert cells(many, "query_budget", "lr_sgd")[0].shape == (MOST_CELLS, MOST_CELLS)
