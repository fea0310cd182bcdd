import pytest
from edge_runs import report, trial, write_run

from raysys.records import PARTS
from raysys.store.reader import read_run
from raysys.store.seconds import seconds_by, shares
from raysys.store.writer import RunWriter


def spent(**parts):
    return dict.fromkeys(PARTS, 0.0) | parts


def test_the_last_report_of_each_trial_counts_and_older_ones_say_nothing(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0), trial(1), trial(2)], steps=1)
    with RunWriter(layout) as writer:
        writer.report(report(0, 7, seconds_by=spent(generate=1.0)))
        writer.report(report(0, 8, seconds_by=spent(generate=2.0, ask=1.0)))
        writer.report(report(1, 8, seconds_by=spent(train=10.0, ask=2.0)))
    assert seconds_by(read_run(layout).reports) == spent(generate=2.0, train=10.0, ask=3.0)


def test_shares_are_told_the_most_first():
    assert shares(spent(train=99.0, ask=100.0, rest=0.4)) == "50% ask, 50% train"
    assert shares({}) == shares(spent()) == ""


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_no_number_is_left_out(tmp_path, odd):
    layout = write_run(tmp_path / "run", [trial(0)], steps=1)
    with RunWriter(layout) as writer:
        writer.report(report(0, 7, seconds_by=spent(train=odd, ask=1.0)))
    assert shares(seconds_by(read_run(layout).reports)) == "100% ask"
