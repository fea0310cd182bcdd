from pathlib import Path

import numpy as np
import pytest
from tiny_trial import TASK, CountingTeacher, Door, linear, pictures

from raysys.errors import LedgerError, RaysysError, UsageError
from raysys.oracle import BudgetExhausted, Images, Response
from raysys.teacher.journal import Journal, read_accounts
from raysys.teacher.local import TorchTeacher
from raysys.teacher.service import LocalOracle, Reply, Request, TeacherService


def labels(reply: Reply) -> list[int]:
    assert isinstance(reply, Response)
    return list(reply.labels)


def truth(images: Images) -> list[int]:
    return list(TorchTeacher(linear()).predict(images).labels)


def test_requests_of_several_accounts_share_one_forward(tmp_path: Path) -> None:
    asked = {uid: pictures(n, seed=n) for n, uid in enumerate("abc", start=3)}
    with Door(tmp_path) as door:
        for uid in asked:
            door.service.open(uid, 10)
        replies = door.service.serve([Request(uid, 0, images) for uid, images in asked.items()])
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
        group = [Request("a", 0, pictures(2)), Request("b", 0, bad), Request("c", 0, pictures(3))]
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
                Request("nobody", 0, pictures(1)),
                Request("a", 0, pictures(2, seed=1)),
                Request("a", 0, pictures(2, seed=2)),
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
        replies = door.service.serve([Request("a", 0, pictures(3)) for _ in range(3)])
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
        door.service.serve([Request("a", 0, pictures(2))])
        group = [
            Request("b", 0, pictures(7)),  # past b's budget
            Request("a", 0, pictures(2)),  # recorded
            Request("b", 0, pictures(5, seed=5)),
            Request("a", 1, pictures(3)),  # past the run's budget: 2 + 5 of 9 are taken
            Request("a", 1, pictures(2, seed=6)),
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


class Moody:
    """A teacher that does once what it is told."""

    def __init__(self, once: object) -> None:
        self._once: object = once

    def predict(self, images: Images) -> Response:
        once, self._once = self._once, None
        if isinstance(once, Exception):
            raise once
        return once if isinstance(once, Response) else CountingTeacher().predict(images)


@pytest.mark.parametrize(
    ("once", "message"),
    [
        (MemoryError("no room"), r"could not answer\n  MemoryError: no room\n  nothing was charged"),
        (RaysysError("the API is closed"), "the API is closed"),
        (Response(np.zeros(4, np.int64)), r"answered 4 of 5 images\n  nothing was charged"),
        (Response(np.zeros(6, np.int64)), "answered 6 of 5 images"),
        (Response(np.zeros(5, np.int64), np.ones((3, 10), np.float32)), "answered 3 of 5 images"),
        (Response(np.zeros(5, np.int64), np.full((5, 10), np.nan, np.float32)), "NaN or infinity"),
    ],
)
def test_a_teacher_that_fails_charges_nothing_and_may_be_asked_again(
    tmp_path: Path, once: object, message: str
) -> None:
    journal = Journal(tmp_path)
    service = TeacherService(Moody(once).predict, TASK, "soft", journal)
    group = [Request("a", 0, pictures(5))]
    service.open("a", 5)
    for reply in service.serve(group):
        with pytest.raises(RaysysError, match=message):
            raise reply  # type: ignore[misc]
    assert {one.charged for one in read_accounts(tmp_path).values()} == {0}
    assert [labels(reply) for reply in service.serve(group)] == [truth(pictures(5))]
    assert {uid: one.charged for uid, one in read_accounts(tmp_path).items()} == {"a": 5}
    journal.close()


def test_soft_answers_do_not_depend_on_who_asks_beside(tmp_path: Path) -> None:
    with Door(tmp_path / "alone", "soft") as door:
        alone = LocalOracle(door.service, "a", 10).ask(pictures(3), 0)
    with Door(tmp_path / "beside", "soft") as door:
        for uid in "ab":
            door.service.open(uid, 10)
        beside, _ = door.service.serve([Request("a", 0, pictures(3)), Request("b", 0, pictures(7))])
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
        expected = TorchTeacher(linear()).predict(pictures(4)).probabilities
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
