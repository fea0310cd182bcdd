from collections.abc import Sequence
from threading import Event

from tiny_trial import pictures

from raysys.errors import RaysysError
from raysys.oracle import BudgetExhausted
from raysys.teacher.lanes import Lanes
from raysys.teacher.service import Reply, Request


def request(sequence: int, rows: int = 1) -> Request:
    return Request("a", 0, sequence, pictures(rows))


class Served:
    """Answers a request with its number, once it may; `groups` has the numbers that came together."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun, self.go_on = Event(), Event()

    def __call__(self, requests: Sequence[Request]) -> list[Reply]:
        self.groups.append([one.sequence for one in requests])
        self.begun.set()
        self.go_on.wait(60)
        return [BudgetExhausted(one.sequence) for one in requests]


def test_what_comes_while_a_group_is_served_makes_the_next_groups() -> None:
    serve = Served()
    lanes = Lanes(serve, max_rows=4, lanes=1)
    replies = [lanes.put(request(0))]
    assert serve.begun.wait(60)
    replies += [lanes.put(request(sequence, rows=2)) for sequence in (1, 2, 3)]
    serve.go_on.set()
    assert [reply.result(60) for reply in replies] == [BudgetExhausted(n) for n in range(4)]
    assert serve.groups == [[0], [1, 2], [3]]


def test_a_lane_that_found_nothing_more_works_again() -> None:
    serve = Served()
    serve.go_on.set()
    lanes = Lanes(serve, max_rows=4, lanes=2)
    for number in range(20):
        assert lanes.put(request(number)).result(60) == BudgetExhausted(number)


def test_a_bug_in_the_service_is_told_to_all_who_wait_and_the_lane_goes_on() -> None:
    def serve(requests: Sequence[Request]) -> list[Reply]:
        if requests[0].sequence == 0:
            raise KeyError("oops")
        return [BudgetExhausted(1)]

    lanes = Lanes(serve, max_rows=4, lanes=1)
    reply = lanes.put(request(0)).result(60)
    assert isinstance(reply, RaysysError)
    assert "the teacher service failed" in str(reply)
    assert "oops" in str(reply)
    assert lanes.put(request(1)).result(60) == BudgetExhausted(1)
