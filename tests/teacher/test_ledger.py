from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raysys.errors import LedgerError
from raysys.oracle import Response
from raysys.records import Account
from raysys.teacher.ledger import Admitted, Charge, Ledger, Recorded, Refused, RequestKey


def key(sequence: int, images: int, uid: str = "u", digest: str = "d") -> RequestKey:
    return RequestKey(uid, sequence, digest, images)


def answer(request: RequestKey) -> Charge:
    return Charge(request, request.images, Response(np.zeros(request.images, np.int64)))


def opened(budget: int, max_queries: int | None = None, uids: str = "u") -> Ledger:
    ledger = Ledger(max_queries)
    for uid in uids:
        ledger.open(uid, budget)
    return ledger


def ask(ledger: Ledger, request: RequestKey) -> Any:
    verdict = ledger.admit(request)
    if isinstance(verdict, Admitted):
        ledger.settle(answer(request))
    return verdict


@pytest.mark.parametrize(
    ("images", "verdict"), [(99, Admitted()), (100, Admitted()), (101, Refused(100)), (1000, Refused(100))]
)
def test_a_budget_is_kept_to_the_image(images: int, verdict: object) -> None:
    ledger = opened(100)
    assert ask(ledger, key(0, images)) == verdict
    charged = images if verdict == Admitted() else 0
    assert ledger.accounts() == {"u": Account("u", charged, charged, 100)}


def test_a_request_across_the_edge_is_refused_whole_and_a_smaller_one_fits() -> None:
    ledger = opened(100)
    ask(ledger, key(0, 60))
    assert ask(ledger, key(1, 41)) == Refused(40)
    assert ask(ledger, key(1, 40)) == Admitted()
    assert ask(ledger, key(2, 1)) == Refused(0)


def test_the_runs_budget_binds_all_accounts_together() -> None:
    ledger = opened(100, max_queries=150, uids="ab")
    assert ask(ledger, key(0, 100, "a")) == Admitted()
    assert ask(ledger, key(0, 51, "b")) == Refused(50)
    assert ask(ledger, key(0, 50, "b")) == Admitted()
    assert ledger.remaining("a") == ledger.remaining("b") == 0


def test_a_runs_budget_below_what_was_charged_leaves_nothing() -> None:
    ledger = opened(100, max_queries=10)
    ledger.replay(answer(key(0, 60)))
    assert ask(ledger, key(1, 1)) == Refused(0)


def test_what_is_reserved_counts_until_it_is_given_back() -> None:
    ledger = opened(100)
    ledger.admit(key(0, 60))
    assert ledger.admit(key(1, 41)) == Refused(40)
    ledger.release(key(0, 60))
    assert ledger.remaining("u") == 100
    assert ledger.accounts()["u"].charged == 0


def test_a_repeat_is_answered_from_the_record_also_with_an_empty_budget() -> None:
    ledger = opened(10)
    charge = answer(key(0, 10))
    ledger.admit(charge.key)
    ledger.settle(charge)
    assert ledger.admit(key(0, 10)) == Recorded(charge.response)
    assert ledger.accounts()["u"].charged == 10


@pytest.mark.parametrize("other", [key(0, 5, digest="x"), key(0, 4)])
def test_the_same_number_with_another_content_is_a_bug(other: RequestKey) -> None:
    ledger = opened(10)
    ledger.admit(key(0, 5))
    with pytest.raises(LedgerError, match=r"request u/0 came again with other images"):
        ledger.admit(other)
    ledger.settle(answer(key(0, 5)))
    with pytest.raises(LedgerError, match=rf"first 5 images d, now {other.images} images {other.digest}"):
        ledger.admit(other)


def test_an_account_is_opened_first_and_its_budget_never_changes() -> None:
    ledger = opened(10)
    with pytest.raises(LedgerError, match="no account nobody"):
        ledger.admit(key(0, 1, "nobody"))
    assert ledger.is_open("u", 10)
    assert not ledger.is_open("other", 10)
    with pytest.raises(LedgerError, match="opened with a budget of 10 images, not 11"):
        ledger.is_open("u", 11)


def test_a_journal_with_a_charge_twice_is_refused() -> None:
    ledger = opened(10)
    ledger.replay(answer(key(0, 5)))
    with pytest.raises(LedgerError, match="u/0 stands twice"):
        ledger.replay(answer(key(0, 5)))


class Story(RuleBasedStateMachine):
    """Any order of asking, answering, failing, repeating and starting again, against a plain model."""

    @initialize(
        budgets=st.lists(st.integers(1, 40), min_size=1, max_size=3), cap=st.none() | st.integers(0, 80)
    )
    def begin(self, budgets: list[int], cap: int | None) -> None:
        self.budgets = {f"u{number}": budget for number, budget in enumerate(budgets)}
        self.cap = cap
        self.ledger = self.fresh()
        self.charges: dict[tuple[str, int], Charge] = {}
        self.reserved: dict[tuple[str, int], RequestKey] = {}

    def fresh(self) -> Ledger:
        ledger = Ledger(self.cap)
        for uid, budget in self.budgets.items():
            ledger.open(uid, budget)
        return ledger

    def committed(self, uid: str) -> int:
        keys = [charge.key for charge in self.charges.values()] + list(self.reserved.values())
        return sum(one.images for one in keys if one.uid == uid)

    def room(self, uid: str) -> int:
        """What may still be asked; a restart may have brought a cap below what is charged already."""
        own = self.budgets[uid] - self.committed(uid)
        left = own if self.cap is None else min(own, self.cap - sum(map(self.committed, self.budgets)))
        return max(0, left)

    @rule(
        account=st.integers(0, 2), sequence=st.integers(0, 4), images=st.integers(1, 30), digest=st.booleans()
    )
    def ask(self, account: int, sequence: int, images: int, digest: bool) -> None:
        uid = f"u{account % len(self.budgets)}"
        request = RequestKey(uid, sequence, str(digest), images)
        place = (uid, sequence)
        known = self.charges[place].key if place in self.charges else self.reserved.get(place, request)
        if known != request:
            with pytest.raises(LedgerError, match="came again with other images"):
                self.ledger.admit(request)
        elif place not in self.charges and place not in self.reserved:
            room = self.room(uid)
            expected = Admitted() if images <= room else Refused(room)
            assert self.ledger.admit(request) == expected
            if images <= room:
                self.reserved[place] = request

    @precondition(lambda self: self.reserved)
    @rule(pick=st.integers(0), answered=st.booleans())
    def end(self, pick: int, answered: bool) -> None:
        place = sorted(self.reserved)[pick % len(self.reserved)]
        request = self.reserved.pop(place)
        if answered:
            self.charges[place] = answer(request)
            self.ledger.settle(self.charges[place])
        else:
            self.ledger.release(request)

    @precondition(lambda self: self.charges)
    @rule(pick=st.integers(0))
    def repeat(self, pick: int) -> None:
        charge = self.charges[sorted(self.charges)[pick % len(self.charges)]]
        verdict = self.ledger.admit(charge.key)
        assert isinstance(verdict, Recorded)
        assert verdict.response is charge.response

    @rule(cap=st.none() | st.integers(0, 80))
    def restart(self, cap: int | None) -> None:
        self.cap = cap
        self.ledger = self.fresh()
        self.reserved.clear()
        for charge in self.charges.values():
            self.ledger.replay(charge)

    @invariant()
    def books_agree_and_no_budget_is_passed(self) -> None:
        for uid, account in self.ledger.accounts().items():
            charged = sum(charge.key.images for charge in self.charges.values() if charge.key.uid == uid)
            assert account == Account(uid, charged, charged, self.budgets[uid])
            assert self.committed(uid) <= account.budget
            assert self.ledger.remaining(uid) == max(0, self.room(uid))


Story.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestStory = Story.TestCase
