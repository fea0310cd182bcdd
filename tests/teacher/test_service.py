import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tiny_trial import TASK, CountingTeacher, Door, linear, pictures

from raysys.errors import LeaseError, LedgerError, RaysysError, StorageError, UnreachableError, UsageError
from raysys.oracle import BudgetExhausted, Images, Response
from raysys.records import Account
from raysys.teacher.backend import Meter
from raysys.teacher.journal import Journal, read_accounts, read_ledger
from raysys.teacher.local import TorchTeacher
from raysys.teacher.log import LocalLog
from raysys.teacher.service import Caps, LocalOracle, Reply, Request, TeacherService


def labels(reply: Reply) -> list[int]:
    assert isinstance(reply, Response)
    return list(reply.labels)


def truth(images: Images) -> list[int]:
    return list(TorchTeacher(linear()).answer(images).labels)


def test_requests_of_several_accounts_share_one_forward(tmp_path: Path) -> None:
    asked = {uid: pictures(n, seed=n) for n, uid in enumerate("abc", start=3)}
    with Door(tmp_path) as door:
        for uid in asked:
            door.service.open(uid, 10)
        replies = door.service.serve([Request(uid, 0, 0, images) for uid, images in asked.items()])
        assert door.teacher.forwards == [3 + 4 + 5]
        assert [labels(reply) for reply in replies] == [truth(images) for images in asked.values()]
        assert {uid: one.charged for uid, one in door.service.accounts().items()} == {"a": 3, "b": 4, "c": 5}
        assert read_accounts(tmp_path) == door.service.accounts()


@pytest.mark.parametrize(
    ("bad", "got"),
    [
        (pictures(2).astype(np.float32), r"got float32 \(2, 1, 8, 8\)"),
        (pictures(2).transpose(0, 2, 3, 1), r"got uint8 \(2, 8, 8, 1\)"),
        (pictures(1)[0], r"got uint8 \(1, 8, 8\)"),
        (pictures(2)[:, :, :7], r"got uint8 \(2, 1, 7, 8\)"),
        (pictures(0), r"got uint8 \(0, 1, 8, 8\)"),
    ],
)
def test_a_bad_image_is_refused_alone_and_costs_nothing(tmp_path: Path, bad: Images, got: str) -> None:
    with Door(tmp_path) as door:
        for uid in "abc":
            door.service.open(uid, 10)
        group = [Request("a", 0, 0, pictures(2)), Request("b", 0, 0, bad), Request("c", 0, 0, pictures(3))]
        replies = door.service.serve(group)
        assert labels(replies[0]) == truth(pictures(2))
        assert labels(replies[2]) == truth(pictures(3))
        expected = r"digits takes uint8 images \(n, c, h, w\) with n >= 1 and \(c, h, w\) = \(1, 8, 8\)"
        with pytest.raises(UsageError, match=rf"{expected}\n  {got}\n  nothing was charged"):
            raise replies[1]  # type: ignore[misc]
        assert door.account("b").charged == door.account("b").executed == 0
        assert door.teacher.forwards == [5]


def test_unknown_accounts_and_changed_requests_are_errors_of_their_own(tmp_path: Path) -> None:
    with Door(tmp_path) as door:
        door.service.open("a", 10)
        stranger, first, changed = door.service.serve(
            [
                Request("nobody", 0, 0, pictures(1)),
                Request("a", 0, 0, pictures(2, seed=1)),
                Request("a", 0, 0, pictures(2, seed=2)),
            ]
        )
        assert isinstance(stranger, LedgerError)
        assert labels(first) == truth(pictures(2, seed=1))
        assert isinstance(changed, LedgerError)
        assert "a/0 came again with other images" in str(changed)
        assert door.account("a").charged == 2


def test_a_repeat_beside_its_original_is_charged_once(tmp_path: Path) -> None:
    with Door(tmp_path) as door:
        door.service.open("a", 4)
        replies = door.service.serve([Request("a", 0, 0, pictures(3)) for _ in range(3)])
        assert [labels(reply) for reply in replies] == [truth(pictures(3))] * 3
        assert door.teacher.forwards == [3]
        assert door.account("a").charged == 3


def test_a_repeat_later_is_answered_without_a_forward(tmp_path: Path) -> None:
    with Door(tmp_path) as door:
        oracle = LocalOracle(door.service, "a", 3)
        first, again = oracle.ask(pictures(3), 0), oracle.ask(pictures(3), 0)
        assert isinstance(first, Response)
        assert isinstance(again, Response)
        assert first.labels.tolist() == again.labels.tolist()
        assert door.teacher.forwards == [3]


def test_replies_keep_the_order_of_mixed_requests(tmp_path: Path) -> None:
    with Door(tmp_path, max_queries=9) as door:
        for uid in "ab":
            door.service.open(uid, 6)
        door.service.serve([Request("a", 0, 0, pictures(2))])
        group = [
            Request("b", 0, 0, pictures(7)),  # past b's budget
            Request("a", 0, 0, pictures(2)),  # recorded
            Request("b", 0, 0, pictures(5, seed=5)),
            Request("a", 0, 1, pictures(3)),  # past the run's budget: 2 + 5 of 9 are taken
            Request("a", 0, 1, pictures(2, seed=6)),
        ]
        replies = door.service.serve(group)
        assert replies[0] == BudgetExhausted(6)
        assert labels(replies[1]) == truth(pictures(2))
        assert labels(replies[2]) == truth(pictures(5, seed=5))
        assert replies[3] == BudgetExhausted(2)
        assert labels(replies[4]) == truth(pictures(2, seed=6))
        assert door.teacher.forwards == [2, 7]
        assert sum(one.charged for one in door.service.accounts().values()) == 9
        assert door.service.serve([]) == []


Attempt = Callable[[Images, Meter], Response]


class Scripted:
    """A teacher whose calls go by `script`, one entry each; then it answers like any."""

    max_rows = 1024

    def __init__(self, *script: Attempt, lanes: int = 1) -> None:
        self.lanes = lanes
        self._script = iter(script)
        self._teacher = TorchTeacher(linear())

    def predict(self, images: Images, meter: Meter) -> Response:
        attempt = next(self._script, None)
        return self._teacher.predict(images, meter) if attempt is None else attempt(images, meter)

    def close(self) -> None:
        pass


def saying(response: Response) -> Attempt:
    def attempt(images: Images, meter: Meter) -> Response:
        meter.sent(0, len(images))
        return response

    return attempt


def failing(error: BaseException) -> Attempt:
    def attempt(images: Images, meter: Meter) -> Response:
        meter.sent(0, len(images))
        raise error

    return attempt


@pytest.mark.parametrize(
    ("once", "message"),
    [
        (MemoryError("no room"), r"could not answer\n  MemoryError: no room\n  nothing was charged"),
        (RaysysError("the API is closed"), "the API is closed"),
        (Response(np.zeros(4, np.int64)), r"answered 4 of 5 images\n  nothing was charged"),
        (Response(np.zeros(6, np.int64)), "answered 6 of 5 images"),
        (Response(np.zeros(5, np.int64), np.ones((3, 10), np.float32)), "answered 3 of 5 images"),
        (Response(np.zeros(5, np.int64), np.full((5, 10), np.nan, np.float32)), "NaN or infinity"),
        (Response(np.zeros(5, np.int64), np.ones((5, 3), np.float32)), r"\(5, 3\), not \(5, 10\)"),
        (Response(np.full(5, 10)), "a class outside of its 10"),
        (Response(np.zeros(5, np.int64)), "tells labels only\n  use --response hard"),
    ],
)
def test_a_teacher_that_fails_charges_nothing_and_may_be_asked_again(
    tmp_path: Path, once: Response | Exception, message: str
) -> None:
    teacher = Scripted(saying(once) if isinstance(once, Response) else failing(once))
    group = [Request("a", 0, 0, pictures(5))]
    with Door(tmp_path, "soft", teacher=teacher) as door:
        door.service.open("a", 5)
        for reply in door.service.serve(group):
            with pytest.raises(RaysysError, match=message):
                raise reply  # type: ignore[misc]
        assert door.account("a") == Account("a", 0, 5, 5)
        assert [labels(reply) for reply in door.service.serve(group)] == [truth(pictures(5))]
        assert door.account("a") == door.service.accounts()["a"] == Account("a", 5, 10, 5)


def test_soft_answers_do_not_depend_on_who_asks_beside(tmp_path: Path) -> None:
    with Door(tmp_path / "alone", "soft") as door:
        alone = LocalOracle(door.service, "a", 10).ask(pictures(3), 0)
    with Door(tmp_path / "beside", "soft") as door:
        for uid in "ab":
            door.service.open(uid, 10)
        beside, _ = door.service.serve([Request("a", 0, 0, pictures(3)), Request("b", 0, 0, pictures(7))])
        assert door.teacher.forwards == [3, 7]
    assert isinstance(alone, Response)
    assert isinstance(beside, Response)
    np.testing.assert_array_equal(alone.probabilities, beside.probabilities)


@pytest.mark.parametrize("response", ["hard", "soft"])
def test_a_restart_answers_from_the_record(tmp_path: Path, response: str) -> None:
    with Door(tmp_path, response) as door:
        before = LocalOracle(door.service, "a", 10).ask(pictures(4), 0)
    with Door(tmp_path, response) as door:
        after = LocalOracle(door.service, "a", 10).ask(pictures(4), 0)
        assert door.teacher.forwards == []
        assert door.account("a").charged == 4
    assert isinstance(before, Response)
    assert isinstance(after, Response)
    np.testing.assert_array_equal(before.labels, after.labels)
    if response == "hard":
        assert before.probabilities is after.probabilities is None
    else:
        expected = TorchTeacher(linear()).answer(pictures(4)).probabilities
        np.testing.assert_array_equal(before.probabilities, expected)
        np.testing.assert_array_equal(after.probabilities, expected)


def test_budgets_hold_across_a_restart(tmp_path: Path) -> None:
    with Door(tmp_path, max_queries=7) as door:
        LocalOracle(door.service, "a", 5).ask(pictures(4), 0)
    with Door(tmp_path, max_queries=7) as door:
        with pytest.raises(LedgerError, match="opened with a budget of 5 images, not 9"):
            LocalOracle(door.service, "a", 9)
        assert LocalOracle(door.service, "a", 5).ask(pictures(2, seed=1), 1) == BudgetExhausted(1)
        assert LocalOracle(door.service, "b", 5).ask(pictures(4), 0) == BudgetExhausted(3)
        assert isinstance(LocalOracle(door.service, "b", 5).ask(pictures(3), 0), Response)
        assert sum(one.charged for one in read_accounts(tmp_path).values()) == 7
    with Door(tmp_path, max_queries=8) as door:
        assert isinstance(LocalOracle(door.service, "a", 5).ask(pictures(1, seed=1), 1), Response)


def test_answers_are_recorded_as_they_are_told_whatever_numbers_the_teacher_uses(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(10), 4)
    assert probabilities.dtype == np.float64
    teacher = Scripted(saying(Response(probabilities.argmax(axis=1).astype(np.uint8), probabilities)))  # type: ignore[arg-type]
    replies = []
    for _ in range(2):
        with Door(tmp_path, "soft", teacher=teacher) as door:
            replies.append(LocalOracle(door.service, "a", 4).ask(pictures(4), 0))
    for reply in replies:
        assert isinstance(reply, Response)
        assert reply.labels.tolist() == probabilities.argmax(axis=1).tolist()
        assert reply.labels.dtype == np.int64
        np.testing.assert_array_equal(reply.probabilities, probabilities.astype(np.float32))


def test_a_stopped_trials_requests_are_refused_and_not_executed(tmp_path: Path) -> None:
    queued = [
        Request("a", 0, 0, pictures(2)),
        Request("b", 0, 0, pictures(3)),
        Request("c", 0, 0, pictures(4)),
    ]
    with Door(tmp_path) as door:
        for uid in "abc":
            door.service.open(uid, 10)
        door.service.close("a")
        door.service.open("c", 10)
        replies = door.service.serve(queued)
        with pytest.raises(LeaseError, match=r"a gets no more answers\n  the trial was ended"):
            raise replies[0]  # type: ignore[misc]
        assert labels(replies[1]) == truth(pictures(3))
        with pytest.raises(LeaseError, match="attempt 0 of c gets no more answers"):
            raise replies[2]  # type: ignore[misc]
        assert door.teacher.forwards == [3]
    with Door(tmp_path) as door:
        late = door.service.serve([queued[0], Request("c", 0, 0, pictures(4))])
        with pytest.raises(LeaseError, match="the trial was ended"):
            raise late[0]  # type: ignore[misc]
        with pytest.raises(LeaseError, match="attempt 1 has begun"):
            raise late[1]  # type: ignore[misc]
        assert labels(LocalOracle(door.service, "a", 10).ask(pictures(2), 0)) == truth(pictures(2))


def test_closing_an_account_that_nobody_opened_leaves_the_journal_readable(tmp_path: Path) -> None:
    with Door(tmp_path) as door:
        with pytest.raises(LedgerError, match="no account a"):
            door.service.close("a")
        LocalOracle(door.service, "b", 10).ask(pictures(2), 0)
    with Door(tmp_path) as door:
        assert door.service.accounts() == {"b": Account("b", 2, 2, 10)}


def resending(times: int) -> Attempt:
    """Loses `times` answers, then gives up."""

    def attempt(images: Images, meter: Meter) -> Response:
        for _ in range(times):
            meter.sent(0, len(images))
        raise UnreachableError("no answer within 30 s")

    return attempt


def test_retries_are_executed_and_not_charged_and_those_that_never_arrived_are_neither(
    tmp_path: Path,
) -> None:
    def bumpy(images: Images, meter: Meter) -> Response:
        meter.sent(0, 4)
        meter.unsent(0, 4)  # 429
        meter.sent(0, 4)  # a timeout
        meter.sent(0, 4)
        meter.sent(4, len(images))
        return TorchTeacher(linear()).answer(images)

    group = [Request("a", 0, 0, pictures(3)), Request("b", 0, 0, pictures(5, seed=5))]
    with Door(tmp_path, teacher=Scripted(bumpy)) as door:
        for uid in "ab":
            door.service.open(uid, 10)
        replies = door.service.serve(group)
        assert [labels(reply) for reply in replies] == [truth(pictures(3)), truth(pictures(5, seed=5))]
        expected = {"a": Account("a", 3, 6, 10), "b": Account("b", 5, 6, 10)}
        assert door.service.accounts() == read_accounts(tmp_path) == expected


def test_the_cap_on_what_is_sent_ends_retries_as_an_exhausted_budget(tmp_path: Path) -> None:
    group = [Request("a", 0, 0, pictures(4)), Request("b", 0, 0, pictures(5))]
    with Door(tmp_path, max_executed=24, teacher=Scripted(resending(3))) as door:
        for uid in "ab":
            door.service.open(uid, 20)
        assert door.service.serve(group) == [BudgetExhausted(6), BudgetExhausted(6)]
        assert door.service.accounts() == {"a": Account("a", 0, 8, 20), "b": Account("b", 0, 10, 20)}
        assert door.service.serve([Request("a", 0, 1, pictures(7))]) == [BudgetExhausted(6)]
        assert labels(door.service.serve([Request("a", 0, 0, pictures(4))])[0]) == truth(pictures(4))
    with Door(tmp_path, max_executed=24) as door:
        assert LocalOracle(door.service, "b", 20).ask(pictures(3), 1) == BudgetExhausted(2)
    assert sum(one.executed for one in read_accounts(tmp_path).values()) == 22


def test_what_the_teacher_counted_itself_is_kept(tmp_path: Path) -> None:
    with Door(tmp_path, teacher=Scripted(resending(2)), max_executed=30) as door:
        door.service.open("a", 30)
        door.service.serve([Request("a", 0, 0, pictures(10))])
        door.service.serve([Request("a", 0, 0, pictures(8))])
        assert door.account("a") == Account("a", 8, 28, 30)
        door.service.count(7)
        assert door.account("a").executed == 28, "it contradicts what was answered"
        door.service.count(9)
    with Door(tmp_path, max_executed=30) as door:
        assert door.service.accounts() == {"a": Account("a", 8, 9, 30)}
        assert LocalOracle(door.service, "a", 30).ask(pictures(22), 1) == BudgetExhausted(21)


def test_ctrl_c_in_a_forward_keeps_what_was_answered_before(tmp_path: Path) -> None:
    teacher = Scripted(TorchTeacher(linear()).predict, failing(KeyboardInterrupt()))
    group = [Request("a", 0, n, pictures(2 + n, seed=n)) for n in range(3)]
    with Door(tmp_path, "soft", teacher=teacher) as door:
        door.service.open("a", 20)
        with pytest.raises(KeyboardInterrupt):
            door.service.serve(group)
        assert door.service.accounts()["a"] == door.account("a") == Account("a", 2, 5, 20)
        again = door.service.serve(group)
        assert [labels(reply) for reply in again] == [truth(request.images) for request in group]
        assert door.account("a") == Account("a", 9, 12, 20)


class Gate:
    """An attempt that says when it began, and answers or fails once it is told to go on."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self._error = error

    def __call__(self, images: Images, meter: Meter) -> Response:
        meter.sent(0, len(images))
        self.began.set()
        assert self.go_on.wait(20)
        if self._error:
            raise self._error
        return TorchTeacher(linear()).answer(images)


def test_a_request_in_two_lanes_is_answered_once(tmp_path: Path) -> None:
    first, second = Gate(), Gate()
    teacher = Scripted(first, second, lanes=2)
    shared, other = Request("a", 0, 0, pictures(3)), Request("b", 0, 0, pictures(4))
    with Door(tmp_path, teacher=teacher) as door, ThreadPoolExecutor(2) as lanes:
        for uid in "ab":
            door.service.open(uid, 10)
        one = lanes.submit(door.service.serve, [shared])
        assert first.began.wait(20)
        both = lanes.submit(door.service.serve, [other, shared, shared])
        assert second.began.wait(20), "a lane works while another one does"
        second.go_on.set()
        first.go_on.set()
        assert [labels(reply) for reply in one.result(20)] == [truth(pictures(3))]
        expected = [truth(pictures(4)), truth(pictures(3)), truth(pictures(3))]
        assert [labels(reply) for reply in both.result(20)] == expected
        assert door.service.accounts() == {"a": Account("a", 3, 3, 10), "b": Account("b", 4, 4, 10)}


@pytest.mark.parametrize("error", [UnreachableError("gone"), KeyboardInterrupt(), SystemExit(1)])
def test_who_waits_for_another_lane_hears_of_its_failure_and_may_ask_again(
    tmp_path: Path, error: BaseException
) -> None:
    gate = Gate(error)
    request = Request("a", 0, 0, pictures(3))
    admitted = threading.Barrier(2)

    def patient() -> list[Reply]:
        admitted.wait(20)
        return door.service.serve([request])

    with Door(tmp_path, teacher=Scripted(gate, lanes=2)) as door, ThreadPoolExecutor(2) as lanes:
        door.service.open("a", 10)
        broken = lanes.submit(door.service.serve, [request])
        assert gate.began.wait(20)
        waiting = lanes.submit(patient)
        admitted.wait(20)
        gate.go_on.set()
        reply = waiting.result(20)[0]
        if isinstance(error, Exception):
            assert isinstance(broken.result(20)[0], UnreachableError)
        else:
            with pytest.raises(type(error)):
                broken.result(20)
        # Whether it still met the broken request or came just after it, nothing is charged twice or hangs.
        if isinstance(reply, RaysysError):
            assert labels(door.service.serve([request])[0]) == truth(pictures(3))
        assert door.account("a") == Account("a", 3, 6, 10)


def test_a_request_under_way_is_answered_to_the_next_attempt_of_its_trial(tmp_path: Path) -> None:
    gate = Gate()
    with Door(tmp_path, teacher=Scripted(gate, lanes=2)) as door, ThreadPoolExecutor(2) as lanes:
        killed = LocalOracle(door.service, "a", 3)
        old = lanes.submit(killed.ask, pictures(3), 0)
        assert gate.began.wait(20)
        new = lanes.submit(LocalOracle(door.service, "a", 3).ask, pictures(3), 0)
        gate.go_on.set()
        assert labels(new.result(20)) == labels(old.result(20)) == truth(pictures(3))
        assert door.account("a") == Account("a", 3, 3, 3)
        with pytest.raises(LeaseError, match="attempt 1 has begun"):
            killed.ask(pictures(3), 0)


def test_many_lanes_together_never_pass_a_budget(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def trial(number: int) -> list[Reply]:
        barrier.wait(20)
        oracle = oracles[number % 4]
        return [oracle.ask(pictures(2, seed=sequence), sequence) for sequence in range(10)]

    with Door(tmp_path, max_queries=41, max_executed=41) as door, ThreadPoolExecutor(8) as lanes:
        oracles = [LocalOracle(door.service, f"u{number}", 15) for number in range(4)]
        replies = list(lanes.map(trial, range(8)))
        accounts = door.service.accounts()
        assert accounts == read_accounts(tmp_path)
        assert sum(one.charged for one in accounts.values()) == 40
        assert sum(one.executed for one in accounts.values()) == sum(door.teacher.forwards) == 40
        assert all(one.charged <= 15 for one in accounts.values())
        for answered in replies:
            for sequence, reply in enumerate(answered):
                if isinstance(reply, Response):
                    assert labels(reply) == truth(pictures(2, seed=sequence))


class Crash(BaseException):
    """The process dies."""


class FragileLog(LocalLog):
    """A real log that fails once, `countdown` lines from now.

    The disk is full then, or the process dies with `share` of it on the disk. Then it writes no more.
    """

    countdown, dies, share, dead = -1, False, 0.0, False

    def append(self, line: bytes, sync: bool) -> None:
        if self.dead:
            raise Crash
        self.countdown -= 1
        if self.countdown == -1:
            if not self.dies:
                raise OSError(28, "No space left on device")
            super().append(line[: int(self.share * len(line))], sync)
            self.dead = True
            raise Crash
        super().append(line, sync)


@dataclass
class Call:
    """What becomes of the next call of the teacher: attempts that bounce, are lost, and the last one."""

    bounced: int = 0
    lost: int = 0
    end: str = "answer"


@dataclass
class Fickle:
    """A teacher that never says the same twice, and counts what arrives, like a server does.

    `unsure` once the process died before what it had booked arrived, or before it booked that it bounced.
    """

    log: FragileLog | None = None
    call: Call = field(default_factory=Call)
    arrived: int = 0
    calls: int = 0
    unsure: bool = False
    lanes: int = 1
    max_rows: int = 1024

    def predict(self, images: Images, meter: Meter) -> Response:
        n = len(images)
        self.calls += 1
        for _ in range(self.call.bounced):
            self._book(meter.sent, n)
            self._book(meter.unsent, n)
        for _ in range(self.call.lost):
            self._book(meter.sent, n)
            self.arrived += n
        self._book(meter.sent, n)
        if self.call.end == "die before":
            self.unsure = True
            self._die()
        self.arrived += n
        if self.call.end == "die after":
            self._die()
        if self.call.end == "fail":
            raise UnreachableError("no answer within 30 s")
        probabilities = np.random.default_rng(self.calls).dirichlet(np.ones(10), n).astype(np.float32)
        return Response(probabilities.argmax(axis=1), probabilities)

    def close(self) -> None:
        pass

    def _book(self, book: Callable[[int, int], None], n: int) -> None:
        try:
            book(0, n)
        except (Crash, StorageError):
            self.unsure = True
            raise

    def _die(self) -> None:
        assert self.log is not None
        self.log.dead = True
        raise Crash


BUDGETS = {"a": 9, "b": 14, "c": 30}
Place = tuple[str, int]


def images_of(place: Place) -> Images:
    return pictures(1 + place[1], seed=ord(place[0]) + 1000 * place[1])


CALLS = st.builds(
    Call,
    st.integers(0, 1),
    st.integers(0, 2),
    st.sampled_from(["answer", "answer", "answer", "fail", "die before", "die after"]),
)
PLACES = st.tuples(st.sampled_from(sorted(BUDGETS)), st.integers(0, 5))
CAPS = st.just(Caps()) | st.builds(Caps, st.none() | st.integers(0, 40), st.none() | st.integers(0, 60))


class DoorStory(RuleBasedStateMachine):
    """Any order of asking, repeating, failing, dying at any line, starting again with other caps, closing.

    `told` is what callers were answered. The journal, read by another reader, is what is recorded.
    """

    @initialize(response=st.sampled_from(["hard", "soft"]), caps=CAPS)
    def begin(self, response: str, caps: Caps) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.response = response
        self.teacher = Fickle()
        self.told: dict[Place, Any] = {}
        self.epochs = dict.fromkeys(BUDGETS, 0)
        self.closed: set[str] = set()
        self.start(caps)
        self.open_all()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.log.close()
            shutil.rmtree(self.folder)

    def start(self, caps: Caps) -> None:
        self.caps = caps
        self.log = self.teacher.log = FragileLog(self.folder, patience_s=0)
        self.service = TeacherService(self.teacher, TASK, self.response, Journal(self.log), caps)
        self.at_start = self.totals()

    def open_all(self) -> None:
        for uid, budget in BUDGETS.items():
            if uid not in self.closed:
                self.epochs[uid] = self.service.open(uid, budget)

    def totals(self) -> tuple[int, int]:
        accounts = self.service.accounts().values()
        return sum(one.charged for one in accounts), sum(one.executed for one in accounts)

    def recorded(self) -> set[Place]:
        ledger = read_ledger(self.folder)
        return {(uid, sequence) for uid in ledger.accounts() for sequence in ledger.charges(uid)}

    def room(self, uid: str) -> int:
        charged, executed = self.totals()
        room = BUDGETS[uid] - self.service.accounts()[uid].charged
        if self.caps.queries is not None:
            room = min(room, self.caps.queries - charged)
        if self.caps.executed is not None:
            room = min(room, self.caps.executed - executed)
        return max(0, room)

    @rule(rounds=st.lists(st.tuples(st.lists(PLACES, min_size=1, max_size=3), CALLS), min_size=1, max_size=3))
    def ask(self, rounds: list[tuple[list[Place], Call]]) -> None:
        for places, self.teacher.call in rounds:
            self.serve(places)
            self.the_books_are_right_to_the_image()

    @rule(
        places=st.lists(PLACES, min_size=1, max_size=3),
        call=st.just(Call()) | CALLS,
        countdown=st.integers(0, 2),
        dies=st.booleans(),
        share=st.sampled_from([0.0, 0.5, 1.0]),
    )
    def ask_while_the_disk_fails(
        self, places: list[Place], call: Call, countdown: int, dies: bool, share: float
    ) -> None:
        self.teacher.call = call
        self.log.countdown, self.log.dies, self.log.share = countdown, dies, share
        self.serve(places)
        self.log.countdown = -1

    def serve(self, places: list[Place]) -> None:
        known, rooms, calls = self.recorded(), {uid: self.room(uid) for uid in BUDGETS}, self.teacher.calls
        requests = [Request(place[0], self.epochs[place[0]], place[1], images_of(place)) for place in places]
        try:
            replies = self.service.serve(requests)
        except Crash:
            self.come_back(self.caps)
            return
        for place, reply in zip(places, replies, strict=True):
            if place[0] in self.closed:
                assert isinstance(reply, LeaseError)
            elif place in known:
                assert isinstance(reply, Response)
            if isinstance(reply, Response):
                self.hear(place, reply)
        if all(place in known or place[0] in self.closed for place in places):
            assert self.teacher.calls == calls, "a recorded answer is never asked again"
        [place, *others] = places
        if not others and place not in known and place[0] not in self.closed:
            fits = len(images_of(place)) <= rooms[place[0]]
            assert fits or replies == [BudgetExhausted(rooms[place[0]])]
            assert (self.teacher.calls > calls) == fits

    def hear(self, place: Place, reply: Response) -> None:
        answer = reply.labels.tolist(), None if reply.probabilities is None else reply.probabilities.tolist()
        assert len(answer[0]) == len(images_of(place))
        assert (answer[1] is None) == (self.response == "hard")
        assert self.told.setdefault(place, answer) == answer, "never another answer for the same request"

    def come_back(self, caps: Caps) -> None:
        """Another process takes over what the dead one left on the disk."""
        self.log.close()
        self.start(caps)
        self.open_all()

    @rule(caps=CAPS)
    def stop_and_start(self, caps: Caps) -> None:
        self.come_back(caps)

    @rule(place=PLACES)
    def change_a_recorded_request(self, place: Place) -> None:
        if place in self.recorded() and place[0] not in self.closed:
            other = pictures(1 + place[1], seed=99999)
            [reply] = self.service.serve([Request(place[0], self.epochs[place[0]], place[1], other)])
            assert isinstance(reply, LedgerError)

    @rule(uid=st.sampled_from(sorted(BUDGETS)))
    def end_the_trial(self, uid: str) -> None:
        self.service.close(uid)
        self.closed.add(uid)

    @rule(uid=st.sampled_from(sorted(BUDGETS)), place=PLACES)
    def begin_another_attempt(self, uid: str, place: Place) -> None:
        before = self.epochs[uid]
        self.epochs[uid] = self.service.open(uid, BUDGETS[uid])
        self.closed.discard(uid)
        assert self.epochs[uid] == before + 1, "however often the process died in between"
        calls = self.teacher.calls
        [reply] = self.service.serve([Request(uid, self.epochs[uid] - 1, place[1], images_of(place))])
        assert isinstance(reply, LeaseError)
        assert self.teacher.calls == calls

    @rule()
    def ask_the_teachers_counter(self) -> None:
        self.service.count(self.teacher.arrived)
        self.teacher.unsure = False
        assert self.totals()[1] == self.teacher.arrived

    @invariant()
    def the_books_are_right_to_the_image(self) -> None:
        accounts, recorded = self.service.accounts(), self.recorded()
        assert accounts == read_accounts(self.folder)
        assert set(self.told) <= recorded, "what was told is on the disk"
        for uid, account in accounts.items():
            sizes = [len(images_of(place)) for place in recorded if place[0] == uid]
            assert account.charged == sum(sizes), "each request once"
            assert account.charged <= BUDGETS[uid]
            assert account.charged <= account.executed
        charged, executed = self.totals()
        assert self.teacher.arrived <= executed
        assert executed == self.teacher.arrived or self.teacher.unsure
        assert self.caps.queries is None or charged <= max(self.caps.queries, self.at_start[0])
        assert self.caps.executed is None or executed <= max(self.caps.executed, self.at_start[1])


DoorStory.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestDoorStory = DoorStory.TestCase


class Blocked(CountingTeacher):
    """A teacher that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.let = threading.Event(), threading.Event()

    def predict(self, images: Images, meter: Meter) -> Response:
        meter.sent(0, len(images))
        self.begun.set()
        self.let.wait()
        return TorchTeacher(linear()).answer(images)


def test_the_end_waits_for_what_is_under_way_and_answers_nothing_more(tmp_path: Path) -> None:
    teacher = Blocked()
    with Door(tmp_path, teacher=teacher) as door:
        door.service.open("a", 20)
        with ThreadPoolExecutor(2) as threads:
            under_way = threads.submit(door.service.serve, [Request("a", 0, 0, pictures(5))])
            assert teacher.begun.wait(20)
            door.service.end(patience_s=0)
            door.service.count(0)
            assert door.account("a").executed == 5, "what is under way cannot be told to be lost"
            ended = threads.submit(door.service.end, 20)
            teacher.let.set()
            ended.result()
            assert door.account("a").charged == 5
            assert labels(under_way.result()[0]) == truth(pictures(5))
        [late] = door.service.serve([Request("a", 0, 1, pictures(3))])
        with pytest.raises(LeaseError, match="the run was ended"):
            raise late  # type: ignore[misc]


class Watching(CountingTeacher):
    """A teacher that looks at the ledger whenever it is asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.charged: list[int] = []

    def predict(self, images: Images, meter: Meter) -> Response:
        self.charged.append(read_accounts(self.folder)["a"].charged)
        return super().predict(images, meter)


def test_a_soft_answer_is_recorded_before_the_next_is_asked(tmp_path: Path) -> None:
    teacher = Watching(tmp_path)
    with Door(tmp_path, "soft", teacher=teacher) as door:
        door.service.open("a", 20)
        door.service.serve([Request("a", 0, number, pictures(3, seed=number)) for number in range(4)])
        assert teacher.charged == [0, 3, 6, 9]
