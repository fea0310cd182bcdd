"""The shared teacher on a real local Ray: what the service promises must hold through actor and batcher."""

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
import tiny_trial
from tiny_trial import TASK, linear, pictures

from raysys.errors import LeaseError, LedgerError, UnreachableError, UsageError
from raysys.models.classifiers import build_classifier
from raysys.oracle import BudgetExhausted, Images, Response
from raysys.records import Account
from raysys.space.schema import Recipe, TeacherSpec
from raysys.teacher.actor import ActorOracle, Replica, start_teacher
from raysys.teacher.backend import Meter, Source
from raysys.teacher.journal import read_accounts
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.local import TorchTeacher
from raysys.teacher.log import FILE
from raysys.teacher.service import Caps
from raysys.teacher.setup import TeacherSetup

# Ray's workers do not see the folder of the tests.
ray.cloudpickle.register_pickle_by_value(tiny_trial)
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

CALLERS = [f"u{number:05d}" for number in range(4)]
REQUESTS = 6


def kept(folder: Path) -> KeptTeacher:
    teacher = KeptTeacher(str(folder), TeacherSpec(architecture="mlp", recipe=Recipe(epochs=1)), TASK)
    teacher.keep(build_classifier("mlp", TASK, seed=7))
    return teacher


def request(caller: int, sequence: int) -> Images:
    return pictures(3 + caller, seed=100 * caller + sequence)


def check(reply: Response | BudgetExhausted, expected: Response) -> None:
    assert isinstance(reply, Response)
    assert reply.labels.tolist() == expected.labels.tolist()
    assert reply.probabilities is not None
    assert expected.probabilities is not None
    np.testing.assert_allclose(reply.probabilities, expected.probabilities, rtol=1e-5)


def sent_and_answered(folder: Path) -> list[bytes]:
    """The journal but for what says that an attempt began."""
    return [line for line in (folder / FILE).read_bytes().splitlines() if b'{"open"' not in line]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_many_callers_share_one_teacher_that_survives_being_killed(tmp_path: Path) -> None:
    teacher = kept(tmp_path / "teacher")
    folder = tmp_path / "ledger"
    handle = start_teacher(TeacherSetup(teacher, TASK, "soft", folder))
    truth = TorchTeacher(teacher.open())
    budgets = [(3 + caller) * REQUESTS for caller in range(4)]

    def run(caller: int, sequences: range) -> list[Response]:
        """What one trial does; every reply is checked against the teacher itself."""
        oracle = ActorOracle(handle, CALLERS[caller], budgets[caller])
        replies = []
        for sequence in sequences:
            reply = oracle.ask(request(caller, sequence), sequence)
            check(reply, truth.answer(request(caller, sequence)))
            assert isinstance(reply, Response)
            replies.append(reply)
        return replies

    def all_callers(sequences: range) -> list[list[Response]]:
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(run, range(4), [sequences] * 4))

    first = all_callers(range(4))
    half = {uid: Account(uid, 4 * (3 + n), 4 * (3 + n), budgets[n]) for n, uid in enumerate(CALLERS)}
    assert ray.get(handle.accounts.remote()) == read_accounts(folder) == half

    recorded = sent_and_answered(folder)
    ray.kill(handle, no_restart=False)
    again = all_callers(range(4))
    assert sent_and_answered(folder) == recorded, "no answer was computed a second time"
    for before, after in zip(first, again, strict=True):
        for ours, theirs in zip(before, after, strict=True):
            np.testing.assert_array_equal(ours.probabilities, theirs.probabilities)

    with ThreadPoolExecutor(1) as thread:
        rest = thread.submit(all_callers, range(4, REQUESTS))
        ray.kill(handle, no_restart=False)  # with calls under way
        rest.result()
    whole = {uid: Account(uid, budget, budget, budget) for uid, budget in zip(CALLERS, budgets, strict=True)}
    accounts = ray.get(handle.accounts.remote())
    assert accounts == read_accounts(folder)
    assert all(accounts[uid].executed >= budget for uid, budget in zip(CALLERS, budgets, strict=True))
    ray.get(handle.count.remote(sum(budgets)))
    assert ray.get(handle.accounts.remote()) == read_accounts(folder) == whole
    oracle = ActorOracle(handle, CALLERS[0], budgets[0])
    assert oracle.ask(pictures(1, seed=999), REQUESTS) == BudgetExhausted(0)
    with pytest.raises(UsageError, match=r"got float64 \(1, 1, 8, 8\)"):
        oracle.ask(pictures(1) / 255, REQUESTS)
    with pytest.raises(LedgerError, match="u00000/0 came again with other images"):
        oracle.ask(pictures(3, seed=999), 0)
    ray.kill(handle)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_teacher_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / FILE).write_text("00000000 {}\n00000000 {}\n")
    with pytest.raises(UnreachableError, match="does not answer\n  the ledger is damaged") as failure:
        start_teacher(TeacherSetup(kept(tmp_path / "teacher"), TASK, "hard", tmp_path / "ledger"))
    assert "Traceback" not in str(failure.value)


@dataclass(frozen=True)
class Watched:
    """A source of a teacher that tells a folder of each forward, and waits there until it may answer.

    A file `PID-NUMBER` has the forward's images. While `hold` is there, forwards wait; while `broken` is
    there, they fail.
    """

    folder: str
    lanes: int = 1

    def backend(self, device: str) -> "WatchedTeacher":
        return WatchedTeacher(Path(self.folder), self.lanes)

    def sha256(self) -> str:
        return "0" * 64

    def hold(self) -> None:
        Path(self.folder, "hold").touch()

    def go_on(self) -> None:
        Path(self.folder, "hold").unlink()

    def forwards(self) -> dict[str, int]:
        """Images of each forward that began, by its name."""
        return {
            path.name: int(path.read_text()) for path in Path(self.folder).glob("*-*") if path.stat().st_size
        }


class WatchedTeacher:
    max_rows = 1024

    def __init__(self, folder: Path, lanes: int) -> None:
        self.lanes = lanes
        self._folder = folder
        self._teacher = TorchTeacher(linear())
        self._numbers = iter(range(10**6))

    def predict(self, images: Images, meter: Meter) -> Response:
        meter.sent(0, len(images))
        (self._folder / f"{os.getpid()}-{next(self._numbers)}").write_text(str(len(images)))
        while (self._folder / "hold").exists():
            time.sleep(0.01)
        if (self._folder / "broken").exists():
            raise UsageError("the model is gone", "why", "what to do")
        return self._teacher.answer(images)

    def close(self) -> None:
        pass


def until(condition: Callable[[], Any]) -> None:
    while not condition():  # the test's own time limit ends it
        time.sleep(0.01)


def truth(images: Images) -> list[int]:
    return list(TorchTeacher(linear()).answer(images).labels)


def setup_of(source: Source, folder: Path, **more: Any) -> TeacherSetup:
    return TeacherSetup(source, TASK, "hard", folder / "ledger", **more)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_small_requests_of_many_callers_share_forwards_and_stopped_ones_are_not_executed(
    tmp_path: Path,
) -> None:
    source = Watched(str(tmp_path))
    handle = start_teacher(setup_of(source, tmp_path))
    oracles = [ActorOracle(handle, f"u{caller:05d}", 50) for caller in range(33)]
    source.hold()
    with ThreadPoolExecutor(33) as threads:
        first = threads.submit(oracles[0].ask, pictures(8), 0)
        until(source.forwards)
        asked = [pictures(1 + caller % 8, seed=caller) for caller in range(1, 33)]
        calls = [handle.ask.remote(f"u{n:05d}", 0, 0, images) for n, images in enumerate(asked, 1)]
        ActorOracle(handle, "barrier", 1)
        ray.get(handle.close.remote("u00001"))
        assert ray.get(handle.open.remote("u00002", 50)) == 1
        source.go_on()
        replies = ray.get(calls)
        assert first.result().labels.tolist() == truth(pictures(8))  # type: ignore[union-attr]
    for reply, why in zip(replies, ["the trial was ended", "attempt 1 has begun"], strict=False):
        with pytest.raises(LeaseError, match=why):
            raise reply
    for reply, images in zip(replies[2:], asked[2:], strict=True):
        assert reply.labels.tolist() == truth(images)
    assert len(source.forwards()) < 16, "33 requests"
    answered = 8 + sum(map(len, asked[2:]))
    assert sum(source.forwards().values()) == answered
    assert sum(account.executed for account in read_accounts(tmp_path / "ledger").values()) == answered
    with pytest.raises(LeaseError, match="attempt 0 of u00002 gets no more answers"):
        oracles[2].ask(pictures(1), 1)
    newer = ActorOracle(handle, "u00002", 50).ask(asked[1], 0)
    assert isinstance(newer, Response)
    ray.kill(handle)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_lanes_work_at_once_and_a_cap_binds_them_together(tmp_path: Path) -> None:
    source = Watched(str(tmp_path), lanes=3)
    handle = start_teacher(setup_of(source, tmp_path, caps=Caps(queries=16, executed=16)))
    oracles = [ActorOracle(handle, f"u{caller:05d}", 10) for caller in range(4)]
    source.hold()
    with ThreadPoolExecutor(4) as threads:
        replies = []
        for lane in range(3):
            replies.append(threads.submit(oracles[lane].ask, pictures(5, seed=lane), 0))
            until(lambda: len(source.forwards()) == lane + 1)  # noqa: B023
        assert ray.get(handle.accounts.remote())["u00002"].executed == 5, "it answers while its lanes wait"
        again = threads.submit(ActorOracle(handle, "u00000", 10).ask, pictures(5, seed=0), 0)
        source.go_on()
        for lane, reply in enumerate(replies):
            answer = reply.result()
            assert isinstance(answer, Response)
            assert answer.labels.tolist() == truth(pictures(5, seed=lane))
        assert isinstance(again.result(), Response)
    assert oracles[3].ask(pictures(2), 0) == BudgetExhausted(1)
    assert isinstance(oracles[3].ask(pictures(1), 0), Response)
    assert sorted(source.forwards().values()) == [1, 5, 5, 5]
    ray.kill(handle)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_replicas_share_one_ledger_and_come_back_when_they_are_killed(tmp_path: Path) -> None:
    source = Watched(str(tmp_path))
    handle = start_teacher(setup_of(source, tmp_path, replicas=2))
    oracles = [ActorOracle(handle, uid, 40) for uid in ("a", "b")]

    def ask(threads: ThreadPoolExecutor, sequence: int) -> tuple[list[Any], set[str]]:
        """Both ask at once: what is under way, and the new forwards that wait."""
        source.hold()
        before, replies = set(source.forwards()), []
        for number, oracle in enumerate(oracles, 1):
            replies.append(threads.submit(oracle.ask, pictures(5, seed=sequence), sequence))
            until(lambda: len(set(source.forwards()) - before) == number)  # noqa: B023
        return replies, set(source.forwards()) - before

    def pids(forwards: set[str]) -> set[int]:
        return {int(name.split("-")[0]) for name in forwards}

    def check_all(replies: list[Any], sequence: int) -> None:
        for reply in replies:
            assert reply.result().labels.tolist() == truth(pictures(5, seed=sequence))

    with ThreadPoolExecutor(2) as threads:
        replies, begun = ask(threads, 0)
        assert len(pids(begun)) == 2, "each has its own process"
        source.go_on()
        check_all(replies, 0)

        replies, begun = ask(threads, 1)
        for pid in pids(begun):
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(source.forwards()) - begun) == 4)
        source.go_on()
        check_all(replies, 1)

        killed = pids(begun)
        replies, begun = ask(threads, 2)
        assert len(pids(begun) - killed) == 2, "both came back"
        source.go_on()
        check_all(replies, 2)

        (tmp_path / "broken").touch()
        with pytest.raises(UsageError, match=r"the model is gone\n  why\n  what to do$"):
            oracles[0].ask(pictures(1), 3)
        (tmp_path / "broken").unlink()
    accounts = ray.get(handle.accounts.remote())
    assert accounts == read_accounts(tmp_path / "ledger")
    assert [accounts[uid].charged for uid in "ab"] == [15, 15]
    assert sum(account.executed for account in accounts.values()) == sum(source.forwards().values()) == 41
    ray.kill(handle)


def test_a_replica_with_another_raysys_answers_nothing(tmp_path: Path) -> None:
    source = Watched(str(tmp_path))
    replica = Replica(source, "cpu", "0.0.9 (source 0123)")
    with pytest.raises(UnreachableError, match=r"another raysys than the driver\n  the driver has 0.0.9"):
        replica.answer(pictures(1))
    assert not source.forwards()


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_caller_that_cannot_use_the_socket_asks_through_ray_and_gets_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Watched(str(tmp_path))
    handle = start_teacher(setup_of(source, tmp_path))
    near = ActorOracle(handle, "near", 10**4)
    assert ray.get(handle.address.remote()), "near asks by the socket"
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # refused, as on another machine
    far = ActorOracle(handle, "far", 10**4)
    monkeypatch.undo()
    images = pictures(3001)  # more than Ray sends along with a call
    for oracle in (near, far):
        reply = oracle.ask(images, 0)
        assert isinstance(reply, Response)
        assert reply.labels.tolist() == truth(images)
    forwards = len(source.forwards())

    victim = int(next(iter(source.forwards())).partition("-")[0])
    ray.kill(handle, no_restart=False)
    until(lambda: not psutil.pid_exists(victim))  # it may compute what it cannot record any more
    for oracle in (near, far):
        again = oracle.ask(images, 0)
        assert isinstance(again, Response)
        assert again.labels.tolist() == truth(images)
        assert isinstance(oracle.ask(pictures(2, seed=1), 1), Response)
    assert len(source.forwards()) == forwards + 2, "what was recorded is not asked again"
    accounts = ray.get(handle.accounts.remote())
    assert {uid: one.charged for uid, one in accounts.items()} == {"near": 3003, "far": 3003}
    ray.kill(handle)


class Homeless:
    """A source that no node can open."""

    def backend(self, device: str) -> WatchedTeacher:
        raise UsageError("no teacher here")

    def sha256(self) -> str:
        return "0" * 64


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_replicas_that_cannot_start_are_an_unreachable_teacher(tmp_path: Path) -> None:
    handle = start_teacher(setup_of(Homeless(), tmp_path, replicas=2))
    oracle = ActorOracle(handle, "a", 40)
    with pytest.raises(UnreachableError, match="the teacher's replicas keep dying"):
        oracle.ask(pictures(5), 0)
    account = read_accounts(tmp_path / "ledger")["a"]
    assert (account.charged, account.executed) == (0, 5)
    ray.kill(handle)
