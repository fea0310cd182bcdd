from collections.abc import Sequence

import pytest
from edge_runs import report

from raysys.cluster.outbox import HOLD_S, Outbox
from raysys.records import Report


class Line:
    """What was sent, in steps, by a clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[list[int]] = []
        self.outbox = Outbox(self._send, lambda: self.now)

    def _send(self, reports: Sequence[Report]) -> None:
        self.sent.append([one.step for one in reports])

    def after(self, seconds: float, step: int, milestone: bool = False) -> None:
        self.now += seconds
        self.outbox.add([report(0, step, milestone=milestone)])


@pytest.fixture
def line() -> Line:
    return Line()


def test_reports_that_come_slowly_are_sent_at_once(line: Line) -> None:
    for step in range(3):
        line.after(HOLD_S, step)
    assert line.sent == [[0], [1], [2]]


def test_reports_that_come_fast_are_sent_together_and_in_order(line: Line) -> None:
    for step in range(12):
        line.after(HOLD_S / 4, step)
    assert line.sent == [[0], [1, 2, 3, 4], [5, 6, 7, 8]]
    assert [one.step for one in line.outbox.take()] == [9, 10, 11]
    line.outbox.flush()
    assert len(line.sent) == 3, "nothing was left"


def test_a_milestone_does_not_wait_and_takes_along_what_does(line: Line) -> None:
    line.after(0, 0)
    line.after(0, 1)
    line.after(0, 2, milestone=True)
    line.after(0, 3)
    assert line.sent == [[0], [1, 2]]
    line.outbox.flush()
    assert line.sent == [[0], [1, 2], [3]]
