"""Where queries went."""

from dataclasses import replace

import pytest
from edge_runs import RUNS, book, build, trial, write_run

from raysys.records import EVALUATION, Account, TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.reader import read_run
from raysys.store.spending import (
    ELSEWHERE,
    OFF_FRONT,
    ON_FRONT,
    UNREPORTED,
    saved,
    spending,
    trial_spending,
    wasted,
)
from raysys.teacher.journal import read_accounts


@pytest.fixture
def layout(tmp_path) -> RunLayout:
    """Two on the front, one dominated; stopped, failed, interrupted and running ones."""
    states = [TrialStatus.STOPPED, TrialStatus.FAILED, TrialStatus.INTERRUPTED, TrialStatus.RUNNING]
    records = [
        trial(0, queries=100, val_accuracy=0.8),
        trial(1, queries=200, val_accuracy=0.9),
        trial(2, queries=300, val_accuracy=0.7),
        *(trial(3 + n, state, queries=40 + n, val_accuracy=None) for n, state in enumerate(states)),
    ]
    return write_run(tmp_path, records, charged=900, space={"price": 0.5})


def columns(table, *names):
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


def test_without_a_ledger_the_tables_tell_and_the_rest_is_named(layout):
    spent = spending(read_run(layout))
    assert columns(spent, "use", "trials", "charged", "executed", "usd") == [
        (ON_FRONT, 2, 300, None, 150.0),
        (OFF_FRONT, 1, 300, None, 150.0),
        ("stopped", 1, 40, None, 20.0),
        ("failed", 1, 41, None, 20.5),
        ("interrupted", 1, 42, None, 21.0),
        ("running", 1, 43, None, 21.5),
        (UNREPORTED, 0, 134, None, 67.0),
    ]
    assert sum(spent["share"].to_pylist()) == pytest.approx(1)
    assert wasted(spent) == 81


def test_the_ledger_tells_of_all(layout):
    run = read_run(layout)
    accounts = {
        EVALUATION: Account(EVALUATION, 50, 60, 50),
        "u00000": Account("u00000", 100, 130, 100),
        "u00003": Account("u00003", 45, 45, 400),
        "u00099": Account("u00099", 7, 7, 10),
    }
    assert columns(spending(run, accounts), "use", "trials", "charged", "executed", "usd") == [
        (ON_FRONT, 2, 100, 130, 65.0),
        (OFF_FRONT, 1, 0, 0, 0.0),
        ("stopped", 1, 45, 45, 22.5),
        ("failed", 1, 0, 0, 0.0),
        ("interrupted", 1, 0, 0, 0.0),
        ("running", 1, 0, 0, 0.0),
        (EVALUATION, 0, 50, 60, 30.0),
        (ELSEWHERE, 1, 7, 7, 3.5),
    ]
    assert saved(trial_spending(run, accounts)) == 355


def test_what_is_saved_is_by_the_budgets(tmp_path):
    stopped = trial(0, TrialStatus.STOPPED, queries=40)
    known = write_run(tmp_path / "known", [with_budget(stopped, 100), with_budget(trial(1), 1000)])
    assert saved(trial_spending(read_run(known))) == 60
    unknown = write_run(tmp_path / "unknown", [stopped])
    assert saved(trial_spending(read_run(unknown))) is None
    assert saved(trial_spending(read_run(unknown), {"u00000": Account("u00000", 40, 40, 90)})) == 50


def with_budget(record, budget):

    options = {**record.config.options, "query_budget": budget}
    return replace(record, config=replace(record.config, options=options))


@pytest.mark.parametrize("name", RUNS)
def test_all_that_was_charged_went_somewhere(name, tmp_path):
    layout = build(tmp_path, name)
    run = read_run(layout)
    assert sum(spending(run)["charged"].to_pylist()) == run.charged
    book(layout)
    accounts = read_accounts(layout.ledger)
    spent = spending(run, accounts)
    assert sum(spent["charged"].to_pylist()) == sum(account.charged for account in accounts.values())
    assert sum(spent["trials"].to_pylist()) == run.trials.num_rows
