"""The shared teacher on a real local Ray: what the service promises must hold through actor and batcher."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import ray
from tiny_trial import TASK, pictures

from raysys.errors import LedgerError, UnreachableError, UsageError
from raysys.models.classifiers import build_classifier
from raysys.oracle import BudgetExhausted, Images, Response
from raysys.records import Account
from raysys.space.schema import Recipe, TeacherSpec
from raysys.teacher.actor import ActorOracle, start_teacher
from raysys.teacher.journal import FILE, read_accounts
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.local import TorchTeacher

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


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_many_callers_share_one_teacher_that_survives_being_killed(tmp_path: Path) -> None:
    teacher = kept(tmp_path / "teacher")
    folder = tmp_path / "ledger"
    handle = start_teacher(teacher, "soft", folder, None, 0)
    truth = TorchTeacher(teacher.open())
    budgets = [(3 + caller) * REQUESTS for caller in range(4)]

    def run(caller: int, sequences: range) -> list[Response]:
        """What one trial does; every reply is checked against the teacher itself."""
        oracle = ActorOracle(handle, CALLERS[caller], budgets[caller])
        replies = []
        for sequence in sequences:
            reply = oracle.ask(request(caller, sequence), sequence)
            check(reply, truth.predict(request(caller, sequence)))
            assert isinstance(reply, Response)
            replies.append(reply)
        return replies

    def all_callers(sequences: range) -> list[list[Response]]:
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(run, range(4), [sequences] * 4))

    first = all_callers(range(4))
    half = {uid: Account(uid, 4 * (3 + n), 4 * (3 + n), budgets[n]) for n, uid in enumerate(CALLERS)}
    assert ray.get(handle.accounts.remote()) == read_accounts(folder) == half

    recorded = (folder / FILE).read_bytes()
    ray.kill(handle, no_restart=False)
    again = all_callers(range(4))
    assert (folder / FILE).read_bytes() == recorded, "no answer was computed a second time"
    for before, after in zip(first, again, strict=True):
        for ours, theirs in zip(before, after, strict=True):
            np.testing.assert_array_equal(ours.probabilities, theirs.probabilities)

    with ThreadPoolExecutor(1) as thread:
        rest = thread.submit(all_callers, range(4, REQUESTS))
        ray.kill(handle, no_restart=False)  # with calls under way
        rest.result()
    whole = {uid: Account(uid, budget, budget, budget) for uid, budget in zip(CALLERS, budgets, strict=True)}
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
        start_teacher(kept(tmp_path / "teacher"), "hard", tmp_path / "ledger", None, 0)
    assert "Traceback" not in str(failure.value)
