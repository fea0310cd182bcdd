import numpy as np
import pytest
from edge_runs import RUNS, build, report, trial, write_run

from raysys.fronts.hypervolume import Reference
from raysys.records import TrialStatus
from raysys.store.convergence import finished_values, progress, rungs
from raysys.store.points import history_json, run_front
from raysys.store.reader import read_run, reports_of
from raysys.store.schema import reports_table


@pytest.mark.parametrize("name", RUNS)
def test_progress_ends_with_the_front_and_its_hypervolume(name, tmp_path):
    run = read_run(build(tmp_path, name))
    found, front = progress(run), run_front(run)
    assert found.ended == history_json(run)["ended"]
    if found.ended:
        assert found.front[-1] == len(front.members)
        assert found.hypervolume[-1] == pytest.approx(front.hypervolume)
        assert found.hours[-1] * 3600 == pytest.approx(
            sum(one.seconds for one in run.records() if one.status.ended)
        )


def test_another_reference_moves_the_hypervolume_only(tmp_path):
    run = read_run(build(tmp_path, "three"))
    own, other = progress(run), progress(run, Reference(accuracy=0.5, queries=10_000))
    assert other.reference.queries == 10_000
    assert other.hypervolume[-1] != own.hypervolume[-1]
    np.testing.assert_array_equal(other.queries, own.queries)
    np.testing.assert_array_equal(other.front, own.front)
    assert run.manifest.reference == own.reference


def test_cost_is_the_price_of_the_queries(tmp_path):
    found = progress(read_run(build(tmp_path, "priced")))
    np.testing.assert_allclose(found.cost, found.queries * 0.01)


def test_the_last_gain_is_by_the_number_of_the_trial(tmp_path):
    records = [
        trial(0, queries=1000, val_accuracy=0.9),
        trial(1, queries=100, val_accuracy=0.8),
        trial(2, queries=1000, val_accuracy=0.5),
        trial(3, queries=8000, val_accuracy=0.5),
    ]
    found = progress(read_run(write_run(tmp_path / "run", records)))
    assert found.last_gain == 2
    assert found.gained(0.1) == 0
    assert found.gained(0.95) == pytest.approx(found.hypervolume[-1])
    assert progress(read_run(build(tmp_path, "none"))).last_gain == 0


def test_values_are_of_finished_trials_and_others_are_counted(tmp_path):
    values, others = finished_values(read_run(build(tmp_path, "nan")), "val_accuracy")
    np.testing.assert_allclose(values, [0.86])
    assert others == 2
    values, others = finished_values(read_run(build(tmp_path, "running")), "val_accuracy")
    np.testing.assert_allclose(values, [0.86])
    assert others == 0


def test_rungs_tell_how_many_went_on_and_what_they_had(tmp_path):
    stopped = TrialStatus.STOPPED
    records = [
        trial(0, queries=800, val_accuracy=0.9),
        trial(1, stopped, queries=200, val_accuracy=0.3),
        trial(2, stopped, queries=400, val_accuracy=0.5),
        trial(3, TrialStatus.FAILED, queries=300, val_accuracy=None),
    ]
    layout = write_run(tmp_path / "run", records, steps=0)
    scores = {(0, 200): 0.6, (0, 400): 0.8, (1, 200): 0.3, (2, 200): 0.4, (2, 400): 0.5, (3, 200): None}
    rows = [
        report(number, queries, queries=queries, val_accuracy=score, milestone=True)
        for (number, queries), score in scores.items()
    ]
    other = report(0, 1, queries=200, val_accuracy=0.99)  # of the student in training
    reports_of(layout).append(reports_table([other, *rows]), reports_of(layout).next_number())
    found = rungs(read_run(layout)).to_pylist()
    counts = ("milestone", "reached", "went_on", "stopped")
    assert [tuple(row[name] for name in counts) for row in found] == [(200, 4, 3, 1), (400, 2, 1, 1)]
    assert [row["score_went_on"] for row in found] == pytest.approx([0.5, 0.8])
    assert [row["score_stopped"] for row in found] == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize("name", RUNS)
def test_without_milestones_there_are_no_rungs(name, tmp_path):
    assert rungs(read_run(build(tmp_path, name))).num_rows == 0


def test_what_early_stopping_saved_is_of_the_trials_whose_budget_is_known(tmp_path):
    assert read_run(build(tmp_path, "priced")).unspent == 0, "its options have no query_budget"
    gone = trial(0, TrialStatus.STOPPED, queries=200)
    gone.config.options["query_budget"] = 800
    records = [gone, trial(1, TrialStatus.STOPPED, queries=300), trial(2)]
    assert read_run(write_run(tmp_path / "run", records)).unspent == 600
