"""What a pack does with its trials, without Ray: who gets in, who goes on, who leaves."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import pytest
from edge_runs import config

from raysys.cluster.pack_actor import Member, PackActor

PATIENCE_S = 60
Send = Callable[[dict[str, Any]], None]


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Work:
    """Sends three results; knows how far it is and whether it has ended."""

    def __init__(self) -> None:
        self.at = 0
        self.gone = threading.Event()

    def __call__(self, send: Send) -> None:
        for self.at in (1, 2, 3):
            send({"step": self.at})

    def member(self) -> Member:
        return Member(self, self.gone.set)


def test_work_goes_on_only_while_somebody_takes_what_it_sends() -> None:
    work = Work()
    member = work.member()
    assert member.next() == {"step": 1}
    assert work.at == 1, "nothing is asked before it is known that the trial goes on"
    assert [member.next() for _ in range(3)] == [{"step": 2}, {"step": 3}, None]
    assert work.gone.is_set(), "the place is free before the trial's end is told"


@pytest.mark.parametrize("taken", [0, 1])
def test_who_has_to_leave_ends_where_it_waits(taken: int) -> None:
    work = Work()
    member = work.member()
    for _ in range(taken):
        member.next()
    member.leave()
    assert work.gone.wait(PATIENCE_S)
    assert work.at == taken
    with pytest.raises(RuntimeError, match="told to leave"):
        member.next()


def test_who_is_at_work_leaves_with_the_next_result() -> None:
    began, go, gone = threading.Event(), threading.Event(), threading.Event()

    def work(send: Send) -> None:
        began.set()
        go.wait(PATIENCE_S)
        send({})
        raise AssertionError("it goes on")

    member = Member(work, gone.set)
    with ThreadPoolExecutor(1) as relay:
        told = relay.submit(member.next)
        assert began.wait(PATIENCE_S)
        member.leave()
        assert not gone.is_set()
        go.set()
        with pytest.raises(RuntimeError, match="told to leave"):
            told.result(PATIENCE_S)


@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError("broke after a report"), ValueError), (SystemExit(3), RuntimeError)]
)
def test_an_error_is_raised_where_the_results_are_taken(error: BaseException, kind: type[Exception]) -> None:
    def work(send: Send) -> None:
        send({})
        raise error

    member = Member(work, lambda: None)
    member.next()
    with pytest.raises(kind, match=r"broke after a report|SystemExit\(3\)"):
        member.next()


def enter(pack: PackActor, number: int) -> bool:
    return pack.enter(asdict(config(number)), [])


def test_a_pack_takes_as_many_as_it_has_places() -> None:
    pack = PackActor(2)
    assert pack.room("u00000") == 2
    assert [enter(pack, number) for number in (0, 0, 1, 2)] == [True, False, True, False]
    assert pack.room("u00002") == 0
    pack.leave("u00001")
    wait_until(lambda: pack.room("u00002") == 1)
    assert enter(pack, 2)
    with pytest.raises(RuntimeError, match="the pack of u00001 was started again"):
        pack.next("u00001")


def test_an_attempt_whose_relay_died_leaves_before_the_next_one_enters() -> None:
    pack = PackActor(2)
    assert enter(pack, 0)
    assert pack.room("u00000") == -1
    wait_until(lambda: pack.room("u00000") == 2)
    assert enter(pack, 0)
