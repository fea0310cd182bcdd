import json

import pytest
from edge_runs import report, trial, write_run

from raysys.records import EVALUATION, Account, TrialStatus
from raysys.store.audit import Counted, Evidence, audit
from raysys.store.manifest import RunState
from raysys.store.reader import read_run
from raysys.store.writer import RunWriter


def accounts(*rows):
    return {uid: Account(uid, charged, charged, budget) for uid, charged, budget in rows}


def ledger(*rows, **more):
    books = accounts(*rows)
    return Evidence(books, frozenset(books), **more)


@pytest.fixture
def snapshot(tmp_path):
    records = [trial(0), trial(1, TrialStatus.STOPPED, queries=300), trial(2, TrialStatus.RUNNING, queries=0)]
    return read_run(write_run(tmp_path / "run", records, state=RunState.RUNNING))


HONEST = (("u00000", 500, 500), ("u00001", 350, 500), ("u00002", 200, 500), (EVALUATION, 900, 900))


def test_an_honest_run_has_no_mismatch(snapshot):
    result = audit(snapshot, ledger(*HONEST))
    assert result.mismatches == ()
    assert (result.charged, result.executed, result.evaluation) == (1950, 1950, 900)


def test_charged_but_never_reported_is_orphaned_once_the_trial_has_ended(snapshot):
    orphaned = {t.uid: t.orphaned for t in audit(snapshot, ledger(*HONEST)).trials}
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
    assert audit(snapshot, ledger(*HONEST, change)).mismatches == (text,)


def test_a_trial_that_the_ledger_does_not_know_must_not_report(snapshot):
    result = audit(snapshot, Evidence({}))
    assert [text.split()[0] for text in result.mismatches] == ["u00000", "u00001", "run.json"]


def test_a_report_above_the_final_row_counts(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0)])
    with RunWriter(layout) as writer:
        writer.report(report(0, 9, queries=550))
    result = audit(read_run(layout), ledger(("u00000", 500, 500)))
    assert result.mismatches == ("u00000 reports 550 queries, but was charged only 500",)


def test_the_total_of_an_ended_run_and_its_cap(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0)], charged=499, caps={"queries": 450})
    result = audit(read_run(layout), ledger(("u00000", 500, 500)))
    assert result.mismatches == (
        "run.json says 499 queries in total, the ledger 500",
        "the run was charged 500 queries, over its cap of 450",
    )


def test_the_json_object(snapshot):
    data = json.loads(json.dumps(audit(snapshot, ledger(*HONEST)).as_dict()))
    assert {"run", "charged", "executed", "orphaned", "mismatches", "trials"} <= data.keys()
    assert {"uid", "charged", "executed", "orphaned", "budget", "reported"} <= data["trials"][0].keys()


@pytest.mark.parametrize(
    "requests, text",
    [
        ({0: 300, 1: 200}, None),
        (
            {0: 300, 1: 150, 2: 50},
            None,
        ),
        (
            {0: 250, 1: 100, 2: 150},
            "u00000 reports 300 queries, which is no sum of its requests: 250 were charged before request 1,"
            " 350 with it",
        ),
        ({0: 300, 2: 200}, "u00000: request 1 is not in the ledger, though later ones are"),
        (
            {0: 300},
            "u00000 reports 500 queries, which is no sum of its requests: 300 were charged before request 1,"
            " which never came",
        ),
    ],
)
def test_reports_fall_between_requests_or_the_sequence_is_named(requests, text, tmp_path):
    layout = write_run(tmp_path / "run", [trial(0)])
    with RunWriter(layout) as writer:
        writer.report(report(0, 0, queries=300))
        writer.report(report(0, 1, queries=500))
    found = audit(read_run(layout), ledger(("u00000", 500, 500), requests={"u00000": requests})).mismatches
    assert found == (() if text is None else (text,))


@pytest.mark.parametrize(
    "checkpoint, text",
    [
        ((0, 0), None),
        ((1, 200), None),
        ((2, 350), None),
        (
            (1, 150),
            "u00001: its checkpoint says 150 queries before request 1, the ledger has 200 queries there",
        ),
        (
            (3, 400),
            "u00001: its checkpoint says 400 queries before request 3, the ledger does not have so many",
        ),
    ],
)
def test_a_checkpoint_stands_between_requests(checkpoint, text, tmp_path):
    record = trial(1, TrialStatus.INTERRUPTED, queries=200)
    layout = write_run(tmp_path / "run", [record], state=RunState.INTERRUPTED)
    evidence = ledger(
        ("u00001", 350, 500), requests={"u00001": {0: 200, 1: 150}}, checkpoints={"u00001": checkpoint}
    )
    mismatches = [m for m in audit(read_run(layout), evidence).mismatches if "checkpoint" in m]
    assert mismatches == ([] if text is None else [text])


@pytest.mark.parametrize("images, holds", [(499, False), (500, True), (620, True), (621, False)])
def test_the_servers_counter_lies_between_answered_and_sent(images, holds, tmp_path):
    layout = write_run(tmp_path / "run", [trial(0)], charged=500)
    sent = {"u00000": Account("u00000", 500, 620, 500)}
    result = audit(read_run(layout), Evidence(sent, counted=Counted(images, 500)))
    told = f"the teacher's server counted {images} images, the ledger 500 answered and 620 sent"
    assert result.mismatches == (() if holds else (told,))
    assert result.counted == images


@pytest.mark.parametrize("sent, holds", [(600, True), (601, False)])
def test_what_was_sent_is_what_may_cost(sent, holds, tmp_path):
    space = {"name": "digits", "price": 0.005}
    layout = write_run(tmp_path / "run", [trial(0)], charged=500, space=space, caps={"cost": 3.0})
    result = audit(read_run(layout), Evidence({"u00000": Account("u00000", 500, sent, 500)}))
    assert result.mismatches == (
        () if holds else ("601 images at 0.005 USD were sent, over the cap of 3 USD",)
    )


def test_a_trial_that_starts_while_the_run_is_read_is_no_stranger(snapshot):
    books = accounts(*HONEST, ("u00003", 40, 500))
    assert audit(snapshot, Evidence(books, frozenset(books) - {"u00003"})).mismatches == ()


def test_an_answer_that_was_asked_again_is_named(snapshot):
    found = audit(snapshot, ledger(*HONEST, asked_again={"u00001": [4, 6]})).mismatches
    assert found == ("u00001: request 4 was sent again though its answer was recorded",)


def test_what_was_charged_was_sent(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0)], charged=500)
    result = audit(read_run(layout), Evidence({"u00000": Account("u00000", 500, 400, 500)}))
    assert result.mismatches == ("u00000 was charged 500 queries, but only 400 were sent",)
