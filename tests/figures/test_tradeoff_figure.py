from dataclasses import replace

import numpy as np
import pytest
from edge_runs import RUNS, build, config, trial, write_run

from raysys.figures.tradeoff import Look, front_3d, tradeoff_figure
from raysys.records import TrialStatus
from raysys.store.reader import read_run
from raysys.store.schema import PARAMETER

EVERYTHING = Look(share=0.5, robust=True, linear=True, margins=True, pins=("u00000",))


def snapshot(tmp_path, name):
    return read_run(build(tmp_path, name))


def traces(figure):
    return {trace.name: trace for trace in figure.data}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("look", [Look(), EVERYTHING, Look(margins=True, colour="g_steps")])
def test_every_edge_case_run_can_be_drawn_in_every_way(name, look, tmp_path):
    run = snapshot(tmp_path, name)
    if look.colour and PARAMETER + look.colour not in run.trials.column_names:
        return
    for kind in ("final", "anytime"):
        figure = tradeoff_figure((run, run), kind, 800, 0.5, 60.0, look)
        assert "NaN" not in figure.to_json()
    assert "NaN" not in front_3d(run).to_json()


def test_fronts_of_other_runs_differ_in_name_colour_dash_and_symbol(tmp_path):
    runs = tuple(snapshot(tmp_path, name) for name in ("three", "seeds", "many"))
    figure = tradeoff_figure(runs)
    lines = [traces(figure)[name] for name in ("front of three", "seeds", "many")]
    for told in ("line.color", "line.dash", "marker.symbol"):
        assert len({line[told] for line in lines}) == 3
    assert {line.line.shape for line in lines} == {"hv"}
    np.testing.assert_allclose(traces(figure)["seeds"].y, [0.85, 0.91])
    low, high = 10 ** np.array(figure.layout.xaxis.range)
    assert low < 105 and high > 1834


def test_a_number_colours_by_a_scale_which_is_logarithmic_over_two_decades(tmp_path):
    run = snapshot(tmp_path, "many")
    figure = tradeoff_figure((run,), look=Look(colour="g_steps"))
    front = traces(figure)["front"]
    by_uid = {uid: 10 + int(uid[1:]) for uid in front.customdata[:, 0]}
    assert front.marker.color.tolist() == list(by_uid.values())
    assert figure.layout.coloraxis.colorbar.title.text == "g_steps"
    wide = read_run(write_run(tmp_path / "wide", [trial(0), *(trial(n * 1000) for n in range(1, 3))]))
    colours = traces(tradeoff_figure((wide,), look=Look(colour="g_steps")))["front"].marker.color
    np.testing.assert_allclose(colours, np.log10([10, 1010, 2010]))


def test_a_category_has_a_colour_and_a_symbol_hollow_where_the_trial_was_stopped(tmp_path):
    records = [trial(0), trial(1), trial(2, TrialStatus.STOPPED)]
    for one, word in zip(records, ("linear", "cosine", "linear"), strict=True):
        one.config.options["schedule"] = word
    run = read_run(write_run(tmp_path / "run", records))
    drawn = traces(tradeoff_figure((run,), look=Look(colour="schedule")))
    assert drawn["front"].marker.symbol == ("circle", "hexagram")
    assert drawn["stopped"].marker.symbol == ("circle-open",)
    assert drawn["schedule = linear"].marker.color == drawn["stopped"].marker.color[0]
    assert drawn["schedule = cosine"].marker.symbol == "hexagram"


def test_a_robust_range_ends_at_the_bulk_and_counts_what_lies_below(tmp_path):
    records = [trial(n, queries=100 + n, val_accuracy=0.9 + n / 1000) for n in range(20)]
    run = read_run(write_run(tmp_path / "run", [*records, trial(30, val_accuracy=0.1)]))
    wide, cut = (tradeoff_figure((run,), look=Look(robust=robust)) for robust in (False, True))
    assert wide.layout.yaxis.range[0] < 0.1 < 0.85 < cut.layout.yaxis.range[0]
    assert cut.layout.yaxis.title.text.endswith("(1 points lie below)")
    assert len(cut.data[0].x) == len(wide.data[0].x)


def test_histograms_count_all_points_drawn_once(tmp_path):
    run = snapshot(tmp_path, "many")
    for linear in (False, True):
        drawn = traces(tradeoff_figure((run,), look=Look(margins=True, linear=linear)))
        assert drawn["points over queries"].y.sum() == 60
        assert drawn["points over score"].x.sum() == 60


def test_3d_shows_the_whole_front_and_an_even_sample(tmp_path):
    records = [trial(n, queries=100 + n, val_accuracy=0.9 - n / 4000, seconds=1.0 + n) for n in range(2500)]
    records += [trial(2500 + n, queries=90 - n, val_accuracy=0.8 - n / 100, seconds=0.5) for n in range(10)]
    run = read_run(write_run(tmp_path / "run", records, steps=0))
    drawn = traces(front_3d(run))
    assert len(drawn["front"].x) == 11
    assert len(drawn["dominated (1,989 of 2,499)"].x) == 1989
    assert drawn["front"].customdata[0].tolist() == ["u02509"]
    cut = traces(front_3d(run, max_queries=85))
    assert (len(cut["front"].x), len(cut["front beyond the limits"].x)) == (5, 6)


def test_hovering_tells_the_parameters_that_differ_and_no_more_than_eight(tmp_path):
    records = [
        replace(trial(n), config=config(n, **{f"p{at:02d}": n + at for at in range(20)})) for n in range(2)
    ]
    run = read_run(write_run(tmp_path / "run", records))
    (front,) = (one for one in tradeoff_figure((run,)).data if one.name == "front")
    lines = front.customdata[0][2].split("<br>")
    assert lines[0] == "g_steps = 10"
    assert lines[8:] == ["and 13 more parameters"]
    assert not any("lr" in line for line in lines)


def test_the_teachers_line_says_of_which_images_it_is(tmp_path):
    (note,) = tradeoff_figure((read_run(build(tmp_path, "three")),)).layout.annotations
    assert note.text == "teacher, val 98.5%"
