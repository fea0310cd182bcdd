from dataclasses import replace

import pytest
from edge_runs import RUNS, build, replicate, trial, write_run

from raysys.errors import UsageError
from raysys.records import TrialStatus
from raysys.store.points import front_json, run_front
from raysys.store.reader import read_run, trials_of
from raysys.store.schema import trials_table
from raysys.store.trial_list import Standing, filtered_trials, siblings, standing, trial_list


def listed(tmp_path, name, kind="final"):
    return trial_list(read_run(build(tmp_path, name)), kind)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("kind", ["final", "anytime"])
def test_every_edge_case_run_is_listed_with_the_front_that_the_command_prints(name, kind, tmp_path):
    run = read_run(build(tmp_path, name))
    table = trial_list(run, kind)
    points = front_json(run, run_front(run, kind), kind)["points"]
    marked = {row["uid"]: row["front"] for row in table.to_pylist() if row["front"]}
    assert set(marked) == {uid for point in points for uid in point["uids"]}
    knees = {uid for point in points if point["knee"] for uid in point["uids"]}
    assert {uid for uid, mark in marked.items() if mark == "knee"} == knees
    assert table["uid"].to_pylist() == sorted(run.trials["uid"].to_pylist())
    assert filtered_trials(table)["uid"].equals(table["uid"])


def test_layers_count_from_the_front_and_leave_out_who_takes_no_part(tmp_path):
    records = [
        trial(0, queries=500, val_accuracy=0.9),
        trial(1, queries=600, val_accuracy=0.9),
        trial(2, queries=700, val_accuracy=0.9),
        trial(3, TrialStatus.STOPPED, queries=100, val_accuracy=0.95),
        trial(4, val_accuracy=float("nan")),
    ]
    table = trial_list(read_run(write_run(tmp_path / "run", records)))
    assert table["layer"].to_pylist() == [1, 2, 3, None, None]


def test_seeds_of_one_recipe_share_their_point(tmp_path):
    table = listed(tmp_path, "seeds")
    assert table["front"].to_pylist() == ["front"] * 4
    assert table["layer"].to_pylist() == [1] * 4


def test_only_parameters_that_differ_and_first_lines_of_errors_are_listed(tmp_path):
    table = listed(tmp_path, "failed-only")
    assert [name for name in table.column_names if name.startswith("param.")] == ["param.g_steps"]
    assert table["error"].to_pylist() == ["ValueError: boom $x$"] * 3
    assert "val_accuracy" not in table.column_names


def test_a_price_shows_what_trials_cost(tmp_path):
    assert listed(tmp_path, "priced")["USD"].to_pylist() == pytest.approx([5.0, 10.0, 15.0])
    assert "USD" not in listed(tmp_path, "three").column_names


@pytest.mark.parametrize("status", [one for one in TrialStatus if not one.ended])
def test_a_trial_that_has_not_ended_is_listed_with_its_last_report(status, tmp_path):
    going = trial(0, status, queries=600, val_accuracy=None)
    layout = write_run(tmp_path / "run", [going, trial(1, queries=900, val_accuracy=0.9)])
    trials_of(layout).append(trials_table([replace(going, queries=0)]), 2)
    row, finished = trial_list(read_run(layout)).to_pylist()
    assert (row["queries"], row["seconds"], row["val_accuracy"]) == (600, 1.0, 0.54)
    assert (finished["queries"], finished["seconds"], finished["val_accuracy"]) == (900, 0.0, 0.9)


def test_filters_and_sorting(tmp_path):
    def uids(**filters):
        return filtered_trials(table, **filters)["uid"].to_pylist()

    records = [
        trial(0, val_accuracy=0.7, queries=900),
        trial(1, TrialStatus.FAILED, val_accuracy=None, error="CUDA out of memory"),
        trial(2, val_accuracy=0.9, queries=800),
    ]
    table = trial_list(read_run(write_run(tmp_path / "run", records)))
    assert uids(find="cuda") == ["u00001"]
    assert uids(find="G_STEPS=12") == ["u00002"]
    assert uids(find="g_steps=1") == []
    assert uids(find="g_steps > 10") == ["u00001", "u00002"]
    assert uids(find="g_steps<=11") == ["u00000", "u00001"]
    assert uids(find="val_accuracy<0.8") == ["u00000"]
    assert uids(find="state=FAILED") == ["u00001"]
    assert uids(find="11") == ["u00001"]
    assert uids(find="(") == []
    assert uids(states=("finished",)) == ["u00000", "u00002"]
    assert uids(seed=101) == ["u00001"]
    assert uids(on_front=True) == ["u00002"]
    assert uids(sort="val_accuracy", descending=True) == ["u00002", "u00000", "u00001"]
    assert uids(sort="val_accuracy") == ["u00000", "u00002", "u00001"]
    assert uids(sort="gone") == ["u00000", "u00001", "u00002"]


@pytest.mark.parametrize(
    ("find", "why"), [("lr>0.1", "no column"), ("state>1", "has no order"), ("g_steps>many", "is no number")]
)
def test_a_comparison_that_cannot_be_made_is_refused(find, why, tmp_path):
    with pytest.raises(UsageError, match=why):
        filtered_trials(listed(tmp_path, "three"), find)


def test_standing_is_by_dominance_and_share_of_the_others(tmp_path):
    records = [
        trial(0, queries=500, val_accuracy=0.9),
        trial(1, queries=600, val_accuracy=0.8),
        trial(2, queries=700, val_accuracy=0.85),
        trial(3, TrialStatus.STOPPED, queries=100, val_accuracy=0.99),
        trial(4, queries=500, val_accuracy=0.9),
    ]
    run = read_run(write_run(tmp_path / "run", records))
    assert standing(run, "u00000") == Standing(3, 2 / 3, (), ("u00001", "u00002"))
    assert standing(run, "u00002") == Standing(3, 1 / 3, ("u00000", "u00004"), ())
    assert standing(run, "u00003") == Standing(4, 1.0, None, None)


def test_without_a_finite_score_nothing_is_said(tmp_path):
    run = read_run(build(tmp_path, "nan"))
    assert standing(run, "u00000") == Standing(1, None, None, None)
    assert standing(run, "u00002") == Standing(0, None, (), ())


def test_siblings_differ_by_their_seed_only(tmp_path):
    other = replicate(2, of=0)
    student = replace(other, config=replace(other.config, student="mlp", uid="u00003"), uid="u00003")
    run = read_run(write_run(tmp_path / "run", [trial(0), trial(1), other, student]))
    assert siblings(run, "u00000") == ["u00002"]
    assert siblings(run, "u00002") == ["u00000"]
    assert siblings(run, "u00003") == []


def test_the_first_layer_is_what_nothing_dominates(tmp_path):
    records = [trial(n, queries=100 + n % 977, val_accuracy=(n * 7919 % 10007) / 10007) for n in range(300)]
    run = read_run(write_run(tmp_path / "run", records, steps=1))
    table = trial_list(run)
    for row in table.slice(0, 20).to_pylist():
        better = sum(
            one.queries <= row["queries"]
            and one.val_accuracy >= row["val_accuracy"]
            and (one.queries, one.val_accuracy) != (row["queries"], row["val_accuracy"])
            for one in records
        )
        assert len(standing(run, row["uid"]).dominated_by) == better
        assert (row["layer"] == 1) == (better == 0)
