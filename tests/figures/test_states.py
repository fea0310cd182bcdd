"""How trials ended, as bars."""

from pathlib import Path

import numpy as np
from edge_runs import trial, write_run

from raysys.figures.states import states_alt, states_figure
from raysys.records import TrialStatus
from raysys.store.reader import Snapshot, read_run

STATES = (TrialStatus.FINISHED, TrialStatus.FAILED, TrialStatus.STOPPED, TrialStatus.FINISHED)


def made(root: Path, states: list[TrialStatus]) -> Snapshot:
    return read_run(
        write_run(root / "run", [trial(n, state, error="boom") for n, state in enumerate(states)])
    )


def test_bars_hold_every_trial_that_ended_and_no_other(tmp_path: Path) -> None:
    run = made(tmp_path, [*STATES * 30, TrialStatus.RUNNING])
    figure = states_figure(run, template="plotly_white")
    bars = {trace.name: trace for trace in figure.data}
    assert {name: int(trace.y.sum()) for name, trace in bars.items()} == {
        "finished": 60, "stopped": 30, "failed": 30
    }  # fmt: skip
    assert len(bars["failed"].x) <= 50
    assert (np.sum([trace.y for trace in figure.data], axis=0) == 3).all()
    assert "of each 3 trials" in figure.layout.yaxis.title.text
    assert states_alt(run) == "How 120 trials ended, 3 a bar: 60 finished, 30 stopped, 30 failed."


def test_the_order_is_that_of_the_ends_and_the_last_bar_may_be_short(tmp_path: Path) -> None:
    run = made(tmp_path, [TrialStatus.FINISHED] * 50 + [TrialStatus.FAILED] * 51)
    bars = {trace.name: trace for trace in states_figure(run).data}
    assert bars["finished"].y.tolist() == [3] * 16 + [2] + [0] * 17
    assert bars["failed"].y.tolist() == [0] * 16 + [1] + [3] * 16 + [2]
    assert bars["failed"].customdata[-1].tolist() == [100, 101]


def test_states_differ_by_hatch_as_well_as_colour(tmp_path: Path) -> None:
    looks = states_figure(made(tmp_path, list(STATES))).data
    assert len({trace.marker.color for trace in looks}) == 3
    assert len({trace.marker.pattern.shape for trace in looks}) == 3


def test_nothing_is_drawn_before_a_trial_ended(tmp_path: Path) -> None:
    assert not states_figure(made(tmp_path, [TrialStatus.RUNNING])).data
