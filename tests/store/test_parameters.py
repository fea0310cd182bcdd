import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from edge_runs import SPACE, build, write_run
from edge_runs import searched as drawn_trials

from raysys.errors import CorruptRunError, SpaceError
from raysys.records import TrialStatus
from raysys.space.load import to_json
from raysys.space.trial_config import searched_values
from raysys.store.parameters import importance_json, searched, short, values_of, values_table
from raysys.store.points import member_uids, run_front
from raysys.store.reader import read_run
from raysys.store.schema import TRIALS, concat, trials_table


def run_of(tmp_path, records, **changes):
    return read_run(write_run(tmp_path / "run", records, space=to_json(SPACE), **changes))


def test_values_are_those_that_the_trials_were_made_of():
    records = drawn_trials(30)
    values = values_of(SPACE, trials_table(records))
    for row, record in enumerate(records):
        active = searched_values(SPACE, record.config.options)
        for name, parameter in SPACE.parameters.items():
            value = active.get(name)
            if value is None:
                assert math.isnan(values[name][row])
            elif parameter.type == "categorical":
                assert parameter.choices[int(values[name][row])] == value
            else:
                assert values[name][row] == value


def test_a_condition_on_a_fixed_option_leaves_a_parameter_out_of_all_trials():
    when = {"optimizer": "sgd", "schedule": ["cosine", "linear"]}
    lr = SPACE.parameters["lr_sgd"].model_copy(update={"when": when})
    for schedule, active in (("cosine", True), ("constant", False)):
        space = SPACE.model_copy(
            update={"parameters": {**SPACE.parameters, "lr_sgd": lr}, "options": {"schedule": schedule}}
        )
        values = values_of(space, trials_table(drawn_trials(10)))["lr_sgd"]
        assert (~np.isnan(values)).any() == active


def test_choices_are_known_where_their_column_became_text():
    mixed = SPACE.parameters["optimizer"].model_copy(update={"choices": [True, "auto"]})
    space = SPACE.model_copy(update={"parameters": {"optimizer": mixed}})
    tables = []
    for number, choice in enumerate([True, "auto"]):
        (record,) = drawn_trials(1)
        options = {"optimizer": choice}
        tables.append(
            trials_table([replace(record, config=replace(record.config, uid=f"u{number}", options=options))])
        )
    assert values_of(space, concat(tables, TRIALS))["optimizer"].tolist() == [0, 1]


def test_only_finished_trials_with_finite_objectives_count(tmp_path):
    records = drawn_trials(12)
    records[10] = replace(records[10], status=TrialStatus.STOPPED)
    records[11] = replace(records[11], val_accuracy=math.nan)
    run = run_of(tmp_path, records)
    found = searched(run)
    assert found.uids.tolist() == [f"u{number:05d}" for number in range(10)]
    assert found.left_out == 1
    assert importance_json(run)["objectives"]["queries"]["trials"] == 10
    assert found.uids[found.front].tolist() == sorted(
        uid for uids in member_uids(run, run_front(run)) for uid in uids
    )


def test_further_seeds_of_a_point_count_once_for_its_range(tmp_path):
    first = drawn_trials(1)[0]
    again = replace(first, uid="u00001", config=replace(first.config, uid="u00001", seed=1))
    run = run_of(tmp_path, [first, replace(again, queries=first.queries)])
    found = searched(run)
    assert found.front.tolist() == [True, True]
    assert found.points.tolist() == [True, False]
    parameters = {row["name"]: row for row in importance_json(run)["parameters"]}
    assert sum(parameters["optimizer"]["front"]["counts"]) == 1


def test_parameters_that_never_vary_are_known(tmp_path):
    found = searched(run_of(tmp_path, drawn_trials(30)))
    assert found.varying() == ["query_budget", "passes", "optimizer", "lr_sgd"]


def test_the_table_of_values_has_the_best_first_and_nulls_where_there_is_none(tmp_path):
    found = searched(run_of(tmp_path, drawn_trials(20)))
    rows = values_table(found, ["lr_sgd", "optimizer"], np.arange(20)).to_pylist()
    scores = [row["val_accuracy"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert all((row["lr_sgd"] is None) == (row["optimizer"] == "adamw") for row in rows)
    assert values_table(found, ["optimizer"], np.arange(2))["optimizer"].type == pa.string()


def test_a_run_whose_space_is_not_whole_is_refused(tmp_path):
    with pytest.raises(SpaceError, match="manifest"):
        searched(read_run(build(tmp_path, "three")))


def test_short_numbers():
    assert [short(x) for x in (5000, 2683.3, 0.0031623, 12345678)] == ["5000", "2680", "0.00316", "1.23e+07"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"passes": None}, "passes is None"),
        ({"passes": 1000}, "passes is 1000"),
        ({"passes": "many"}, "passes is 'many'"),
        ({"optimizer": "lion"}, "optimizer is 'lion'"),
        ({"optimizer": "sgd", "lr_sgd": 0.0}, r"lr_sgd is 0\.0"),
    ],
)
def test_a_trial_that_does_not_fit_the_space_is_named(changed, told):
    records = drawn_trials(12)
    names = {name: SPACE.option(name) for name in SPACE.parameters}
    options = {**records[7].config.options, **{names[name]: value for name, value in changed.items()}}
    options = {name: value for name, value in options.items() if value is not None}
    records[7] = replace(records[7], config=replace(records[7].config, options=options))
    tables = [trials_table(records[:7]), trials_table([records[7]]), trials_table(records[8:])]
    with pytest.raises(CorruptRunError, match=rf"trial u00007 does not fit the space[\s\S]*{told}"):
        values_of(SPACE, concat(tables, TRIALS))
