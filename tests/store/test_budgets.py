import numpy as np
import pytest
from edge_runs import RUNS, TEACHER, build, trial, write_run

from raysys.fronts.attainment import attained
from raysys.store.budgets import (
    attainment_table,
    bought,
    budget_table,
    budgets,
    compared_fronts,
    curves,
    gains,
    needed_table,
    unit,
)
from raysys.store.reader import read_run


def seeds(tmp_path, *scores, **changes):
    """Runs of one search, one a seed: each has a student of these scores for 100, 1,000, ... queries."""
    return [
        read_run(
            write_run(
                tmp_path / f"seed-{seed}",
                [
                    trial(n, queries=100 * 10**n, val_accuracy=score)
                    for n, score in enumerate(of)
                    if score is not None
                ],
                seed=seed,
                trials=2,
                **changes,
            )
        )
        for seed, of in enumerate(scores)
    ]


def test_three_seeds_of_a_search_are_a_median_with_a_band_and_two_are_not(tmp_path):
    runs = seeds(tmp_path, (0.6, 0.9), (0.5, 0.8), (None, 0.7))
    (curve,) = curves(runs)
    assert (curve.name, curve.banded) == ("seed-0 and 2 more seeds", True)
    found = [curve.attained([50, 100, 1000], share).tolist() for share in (0.25, 0.5, 0.75)]
    assert found == [
        pytest.approx([np.nan, 0.6, 0.9], nan_ok=True),
        pytest.approx([np.nan, 0.5, 0.8], nan_ok=True),
        pytest.approx([np.nan, np.nan, 0.7], nan_ok=True),
    ]
    assert [one.name for one in curves(runs[:2])] == ["seed-0", "seed-1"]
    assert not any(one.banded for one in curves(runs[:2]))


def test_the_table_over_seeds_tells_how_many_have_a_student(tmp_path):
    found = curves(seeds(tmp_path, (0.6, 0.9), (0.5, 0.8), (None, 0.7)))
    first, *_, last = attainment_table(found).to_pylist()
    assert first == {
        "budget": 100, "search": "seed-0 and 2 more seeds", "seeds": 3, "attained": 2,
        "lower": None, "median": 0.5, "upper": 0.6, "gain": pytest.approx(10 / 3),
    }  # fmt: skip
    assert (last["budget"], last["attained"], last["lower"], last["gain"]) == (1000, 3, 0.7, None)
    assert not attainment_table(found[:0]).num_rows


def test_each_round_budget_has_the_best_student_of_each_run_within_it(tmp_path):
    found = curves([read_run(build(tmp_path, name)) for name in ("seeds", "priced")])
    rows = budget_table(found).to_pylist()
    assert [(row["budget"], row["run"], row["uid"]) for row in rows] == [
        (500, "seeds", None), (500, "priced", "u00000"),
        (1000, "seeds", "u00001"), (1000, "priced", "u00000"),
    ]  # fmt: skip
    best = rows[2]
    assert (best["score"], best["queries"]) == (pytest.approx(0.91), 1000)
    assert best["score_std"] == pytest.approx(0.04 / 2**0.5)
    assert [row["cost"] for row in rows] == [None, 5.0, None, 5.0]
    assert "cost" not in budget_table(curves([read_run(build(tmp_path, "many"))])).column_names


@pytest.mark.parametrize("kind", ["final", "anytime"])
def test_rows_agree_with_what_the_front_attains(kind, tmp_path):
    (curve,) = found = curves([read_run(build(tmp_path, "many"))], kind)
    table = budget_table(found, kind)
    np.testing.assert_array_equal(table["score"].to_numpy(), attained(curve.fronts, budgets(found), 1))
    assert (table["queries"].to_numpy() <= table["budget"].to_numpy()).all()


def test_gains_are_over_what_was_bought_and_not_over_budgets_that_buy_the_same(tmp_path):
    records = [trial(0, queries=400, val_accuracy=0.5), trial(1, queries=1600, val_accuracy=0.8)]
    (curve,) = curves([read_run(write_run(tmp_path / "run", records))])
    at = [200, 500, 1000, 2000, 5000]
    nan = np.nan
    np.testing.assert_array_equal(bought(curve, at), [nan, 400, 400, 1600, 1600])
    assert unit(at) == 1000
    np.testing.assert_allclose(gains(curve, at), [nan, 25, 25, nan, nan])
    assert [unit([most]) for most in (1, 50, 200, 20_000, 10**7)] == [1, 10, 100, 10_000, 10_000]


def test_the_queries_needed_for_a_score_are_those_of_half_the_seeds(tmp_path):
    found = curves(seeds(tmp_path, (0.6, 0.9), (0.5, 0.8), (None, 0.7), space={"name": "x", "price": 0.01}))
    (row,) = needed_table(found, 0.75).to_pylist()
    assert row == {
        "search": "seed-0 and 2 more seeds", "seeds": 3, "attained": 2, "queries": 1000, "cost": 10.0,
    }  # fmt: skip
    (row,) = needed_table(found, 0.85).to_pylist()
    assert (row["attained"], row["queries"], row["cost"]) == (1, None, None)


@pytest.mark.parametrize("name", RUNS)
def test_every_edge_case_run_has_tables(name, tmp_path):
    for kind in ("final", "anytime"):
        found = curves([read_run(build(tmp_path, name))], kind)
        assert budget_table(found, kind).num_rows == len(budgets(found))
        assert needed_table(found, 0.5).num_rows == 1


def test_runs_of_another_teacher_or_reference_are_named_and_left_out(tmp_path):
    run, like = seeds(tmp_path, (0.6, 0.9), (0.5, 0.8))
    other = read_run(write_run(tmp_path / "other", [trial(0)], teacher=None))
    unmeasured = read_run(build(tmp_path, "no labels"))
    kept, refused = compared_fronts((run, other, like, unmeasured))
    assert [one.name for one in kept] == ["seed-0", "seed-1"]
    assert len(refused) == 2
    assert "teachers" in refused[0] and "other has none" in refused[0]
    assert TEACHER.architecture in refused[0]
