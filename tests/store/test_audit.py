import json

import pytest
from edge_runs import report, trial, write_run

from raysys.records import EVALUATION, Account, TrialStatus
from raysys.store.audit import audit
from raysys.store.manifest import RunState
from raysys.store.reader import read_run
from raysys.store.writer import RunWriter


def accounts(*rows):
    return {uid: Account(uid, charged, charged, budget) for uid, charged, budget in rows}


@pytest.fixture
def snapshot(tmp_path):
    records = [trial(0), trial(1, TrialStatus.STOPPED, queries=300), trial(2, TrialStatus.RUNNING, queries=0)]
    return read_run(write_run(tmp_path / "run", records, state=RunState.RUNNING))


HONEST = (("u00000", 500, 500), ("u00001", 350, 500), ("u00002", 200, 500), (EVALUATION, 900, 900))


def test_an_honest_run_has_no_mismatch(snapshot):
    result = audit(snapshot, accounts(*HONEST))
    assert result.mismatches == ()
    assert (result.charged, result.executed, result.evaluation) == (1950, 1950, 900)


def test_charged_but_never_reported_is_orphaned_once_the_trial_has_ended(snapshot):
    orphaned = {t.uid: t.orphaned for t in audit(snapshot, accounts(*HONEST)).trials}
    assert orphaned == {"u00000": 0, "u00001": 50, "u00002": 0}


@pytest.mark.parametrize(
    "change, text",
    [
        (("u00000", 600, 600), "u00000 finished with 500 queries, but was charged 600"),
        (("u00000", 400, 500), "u00000 reports 500 queries, but was charged only 400"),
        (("u00001", 290, 500), "u00001 reports 300 queries, but was charged only 290"),
        (("u00001", 501, 500), "u00001 was charged 501 queries, over its budget of 500"),
        (("u00099", 10, 500), "the ledger charges 10 queries to u00099, which is no trial of this run"),
    ],
)
def test_every_disagreement_is_named(change, text, snapshot):
    assert audit(snapshot, {**accounts(*HONEST), **accounts(change)}).mismatches == (text,)


def test_a_trial_that_the_ledger_does_not_know_must_not_report(snapshot):
    result = audit(snapshot, {})
    assert [text.split()[0] for text in result.mismatches] == ["u00000", "u00001"]


def test_a_report_above_the_final_row_counts(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0)])
    with RunWriter(layout) as writer:
        writer.report(report(0, 9, queries=550))
    result = audit(read_run(layout), accounts(("u00000", 500, 500)))
    assert result.mismatches == ("u00000 reports 550 queries, but was charged only 500",)


def test_the_total_of_an_ended_run_and_its_cap(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0)], charged=499, caps={"queries": 450})
    result = audit(read_run(layout), accounts(("u00000", 500, 500)))
    assert result.mismatches == (
        "run.json says 499 queries in total, the ledger 500",
        "the run was charged 500 queries, over its cap of 450",
    )


def test_the_json_object(snapshot):
    data = json.loads(json.dumps(audit(snapshot, accounts(*HONEST)).as_dict()))
    assert {"run", "charged", "executed", "orphaned", "mismatches", "trials"} <= data.keys()
    assert {"uid", "charged", "executed", "orphaned", "budget", "reported"} <= data["trials"][0].keys()
