import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_trial import TASK, Door, MemoryKeeper, config, held_out
from torch import Tensor

from raysys.distill.engine import ALONE, Generation, Pass
from raysys.distill.stopwatch import Stopwatch
from raysys.distill.trial import run_trial
from raysys.oracle import BudgetExhausted, Images, Oracle, Response
from raysys.records import PARTS, Report, TrialConfig
from raysys.teacher.service import LocalOracle


class Hand:
    """A clock that goes on by hand only."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_moment_counts_for_the_innermost_part() -> None:
    clock = Hand()
    watch = Stopwatch(clock, {"ask": 100.0})
    clock.now = 1
    with watch("generate"):
        clock.now = 3
        with pytest.raises(InterruptedError), watch("ask"):
            clock.now = 7
            raise InterruptedError
        clock.now = 15
    clock.now = 31
    with watch("save"):
        clock.now = 63
        told = watch.read()
    assert told == {"generate": 10, "train": 0, "ask": 104, "evaluate": 0, "save": 32, "rest": 17}


class SlowEngine:
    """An engine that takes a second to generate, and 100 to train, whatever the machine does."""

    def __init__(self, clock: Hand) -> None:
        self.clock = clock

    def generate(self, work: Generation) -> tuple[Tensor, float]:
        self.clock.now += 1
        return ALONE.generate(work)

    def run_pass(self, work: Pass) -> float:
        self.clock.now += 100
        return ALONE.run_pass(work)


class SlowOracle:
    """Takes 10,000 seconds to answer."""

    def __init__(self, oracle: Oracle, clock: Hand) -> None:
        self._oracle = oracle
        self.clock = clock
        self.epoch = oracle.epoch

    def ask(self, images: Images, sequence: int) -> Response | BudgetExhausted:
        self.clock.now += 10_000
        return self._oracle.ask(images, sequence)


class SlowKeeper(MemoryKeeper):
    """Takes a million seconds to save."""

    def __init__(self, clock: Hand) -> None:
        super().__init__()
        self.clock = clock

    def save(self, state: bytes, sequence: int) -> None:
        self.clock.now += 1_000_000
        super().save(state, sequence)


def reports_of(what: TrialConfig, door: Door, keeper: SlowKeeper) -> Sequence[Report]:
    clock = keeper.clock
    oracle = SlowOracle(LocalOracle(door.service, what.uid, 50), clock)
    outcome = run_trial(
        what, TASK, oracle, held_out(), keeper, lambda _: None, clock, engine=SlowEngine(clock)
    )
    return outcome.reports


def test_a_report_says_where_its_seconds_went(tmp_path: Path) -> None:
    clock = Hand()
    with Door(tmp_path) as door:
        first, *_, last = reports_of(config(final_passes=5), door, SlowKeeper(clock))
    nothing = dict.fromkeys(PARTS, 0.0)
    assert first.seconds_by == {**nothing, "generate": 1, "train": 100, "ask": 10_000}  # not yet saved
    assert last.seconds_by == {**nothing, "generate": 3, "train": 800, "ask": 30_000, "save": 7_000_000}
    assert last.seconds == 7_030_803


def test_what_a_milestone_trains_is_no_time_of_asking(tmp_path: Path) -> None:
    clock = Hand()
    what = replace(config(batch_size=50, epochs=1), milestones=(20, 30))
    with Door(tmp_path) as door:
        reports = reports_of(what, door, SlowKeeper(clock))
    assert [report.milestone for report in reports] == [True, True, False, False, False]
    second = reports[1].seconds_by
    assert (second["train"], second["ask"]) == (400, 20_000)


def test_a_state_that_does_not_say_it_counts_as_rest(tmp_path: Path) -> None:
    """As a raysys wrote it that did not look."""
    clock = Hand()
    whole, half = SlowKeeper(clock), SlowKeeper(clock)
    with Door(tmp_path) as door:
        reports_of(config(), door, whole)
        state = torch.load(io.BytesIO(whole.states[0]), weights_only=True)  # noqa: TID251
        for row in state["reports"]:
            row["seconds"] = 7.0
            del row["seconds_by"]
        buffer = io.BytesIO()
        torch.save({**state, "version": 2}, buffer)
        half.states = [buffer.getvalue()]
        first, second, *_ = reports_of(config(), door, half)
    assert (first.seconds, first.seconds_by) == (7.0, {})
    assert second.seconds_by["rest"] == 7.0
    assert second.seconds == sum(second.seconds_by.values()) > 10_000
