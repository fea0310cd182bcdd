from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raysys.errors import LeaseError, LedgerError
from raysys.oracle import Response
from raysys.records import Account
from raysys.teacher.ledger import Admitted, Charge, InFlight, Ledger, Recorded, Refused, RequestKey


def key(sequence: int, images: int, uid: str = "u", digest: str = "d") -> RequestKey:
    return RequestKey(uid, sequence, digest, images)


def answer(request: RequestKey) -> Charge:
    return Charge(request, Response(np.zeros(request.images, np.int64)))


def opened(
    budget: int, max_queries: int | None = None, max_executed: int | None = None, uids: str = "u"
) -> Ledger:
    ledger = Ledger(max_queries, max_executed)
    for uid in uids:
        ledger.open(uid, budget, 0)
    return ledger


def ask(ledger: Ledger, request: RequestKey) -> Any:
    verdict = ledger.admit(request, 0)
    if isinstance(verdict, Admitted):
        ledger.send(request, request.images)
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


@pytest.mark.parametrize("caps", [{"max_queries": 150}, {"max_executed": 150}])
def test_the_runs_budget_binds_all_accounts_together(caps: dict[str, int]) -> None:
    ledger = opened(100, **caps, uids="ab")
    assert ask(ledger, key(0, 100, "a")) == Admitted()
    assert ask(ledger, key(0, 51, "b")) == Refused(50)
    assert ask(ledger, key(0, 50, "b")) == Admitted()
    assert ledger.remaining("a") == ledger.remaining("b") == 0


def test_a_runs_budget_below_what_was_charged_leaves_nothing() -> None:
    ledger = opened(100, max_queries=10)
    ledger.replay_charge(answer(key(0, 60)))
    assert ask(ledger, key(1, 1)) == Refused(0)


def test_what_is_reserved_counts_until_it_is_given_back() -> None:
    ledger = opened(100, max_executed=100)
    ledger.admit(key(0, 60), 0)
    assert ledger.admit(key(1, 41), 0) == Refused(40)
    ledger.release(key(0, 60))
    assert ledger.remaining("u") == 100
    assert ledger.accounts()["u"].charged == 0


def test_a_failed_attempt_leaves_less_to_send_but_costs_no_query() -> None:
    ledger = opened(100, max_executed=100)
    ledger.admit(key(0, 30), 0)
    ledger.send(key(0, 30), 30)
    ledger.release(key(0, 30))
    assert ledger.accounts() == {"u": Account("u", 0, 30, 100)}
    assert ledger.remaining("u") == 70


def test_a_retry_is_sent_only_while_the_cap_has_room_for_it() -> None:
    ledger = opened(100, max_executed=100, uids="ab")
    first, other = key(0, 30, "a"), key(0, 40, "b")
    for request in (first, other):
        ledger.admit(request, 0)
    assert ledger.may_send([(first, 30), (other, 40)]), "their first attempts are reserved"
    ledger.send(first, 30)
    assert ledger.may_send([(first, 30)]), "30 + 30 + 40"
    ledger.send(first, 30)
    assert not ledger.may_send([(first, 1)])
    assert ledger.may_send([(other, 40)])
    ledger.unsend(first, 30)
    assert ledger.may_send([(first, 30), (other, 40)]), "what never arrived may go again"
    assert not ledger.may_send([(first, 31)])
    ledger.send(first, 30)
    ledger.settle(answer(first))
    assert ledger.accounts()["a"] == Account("a", 30, 60, 100)


def test_a_request_in_parts_may_be_retried_in_parts() -> None:
    ledger = opened(10, max_executed=12)
    request = key(0, 10)
    ledger.admit(request, 0)
    ledger.send(request, 6)
    assert ledger.may_send([(request, 6)]), "4 unsent ones and 2 of the cap"
    ledger.send(request, 4)
    assert not ledger.may_send([(request, 4)])
    assert ledger.may_send([(request, 2)])


def test_a_repeat_is_answered_from_the_record_also_with_an_empty_budget() -> None:
    ledger = opened(10)
    charge = answer(key(0, 10))
    ledger.admit(charge.key, 0)
    assert ledger.admit(charge.key, 0) == InFlight()
    ledger.settle(charge)
    assert ledger.admit(key(0, 10), 0) == Recorded(charge.response)
    assert ledger.accounts()["u"].charged == 10
    assert ledger.charges("u") == {0: charge.key}


@pytest.mark.parametrize("other", [key(0, 5, digest="x"), key(0, 4)])
def test_the_same_number_with_another_content_is_a_bug(other: RequestKey) -> None:
    ledger = opened(10)
    ledger.admit(key(0, 5), 0)
    with pytest.raises(LedgerError, match=r"request u/0 came again with other images"):
        ledger.admit(other, 0)
    ledger.settle(answer(key(0, 5)))
    with pytest.raises(LedgerError, match=rf"first 5 images d, now {other.images} images {other.digest}"):
        ledger.admit(other, 0)


def test_an_account_is_opened_first_and_its_budget_never_changes() -> None:
    ledger = opened(10)
    with pytest.raises(LedgerError, match="no account nobody"):
        ledger.admit(key(0, 1, "nobody"), 0)
    with pytest.raises(LedgerError, match="no account nobody"):
        ledger.close("nobody")
    assert ledger.next_epoch("u", 10) == 1
    assert ledger.next_epoch("other", 10) == 0
    with pytest.raises(LedgerError, match="opened with a budget of 10 images, not 11"):
        ledger.next_epoch("u", 11)


def test_a_newer_attempt_ends_the_older_one() -> None:
    ledger = opened(10)
    ask(ledger, key(0, 5))
    ledger.open("u", 10, 2)
    assert ledger.next_epoch("u", 10) == 3
    for request in (key(0, 5), key(1, 5)):
        with pytest.raises(LeaseError, match=r"attempt 0 of u gets no more answers\n  attempt 2 has begun"):
            ledger.admit(request, 0)
    assert isinstance(ledger.admit(key(0, 5), 2), Recorded)
    assert ledger.remaining("u") == 5


def test_a_closed_account_is_opened_by_a_newer_attempt() -> None:
    ledger = opened(10)
    ledger.admit(key(0, 5), 0)
    ledger.close("u")
    with pytest.raises(LeaseError, match=r"u gets no more answers\n  the trial was ended"):
        ledger.admit(key(0, 5), 0)
    ledger.settle(answer(key(0, 5)))
    assert ledger.accounts()["u"].charged == 5, "what was under way is still booked"
    ledger.open("u", 10, ledger.next_epoch("u", 10))
    assert isinstance(ledger.admit(key(0, 5), 1), Recorded)


def test_the_teachers_own_count_settles_only_what_is_in_doubt() -> None:
    ledger = opened(100, max_executed=60, uids="ab")
    ask(ledger, key(0, 10, "a"))
    for uid in "ab":
        ledger.replay_sent(uid, 9, 20)
    assert ledger.remaining("a") == 10
    assert not ledger.can_count(9), "answered images were counted"
    assert not ledger.can_count(51), "more than was sent"
    assert ledger.can_count(25)
    ledger.count(25)
    assert sum(account.executed for account in ledger.accounts().values()) == 25
    assert ledger.accounts()["a"].executed >= 10
    assert ledger.remaining("a") == 35


def test_a_journal_with_a_charge_twice_is_refused() -> None:
    ledger = opened(10)
    ledger.replay_charge(answer(key(0, 5)))
    with pytest.raises(LedgerError, match="u/0 stands twice"):
        ledger.replay_charge(answer(key(0, 5)))


def test_a_journal_tells_of_an_answer_that_was_asked_again() -> None:
    ledger = opened(10)
    ledger.replay_sent("u", 0, 5)
    ledger.replay_charge(answer(key(0, 5)))
    ledger.replay_sent("u", 1, 3)
    assert ledger.asked_again("u") == []
    ledger.replay_sent("u", 0, 5)
    assert ledger.asked_again("u") == [0]


@dataclass
class Open:
    """A request under way: its images whose first attempt is to come, and the images of the last attempt."""

    key: RequestKey
    unsent: int
    last: int = 0


ACCOUNTS = st.integers(0, 2)
CAPS = st.none() | st.integers(0, 80)


class Story(RuleBasedStateMachine):
    """Any order of asking, sending, answering, failing, ending and starting again, against a plain model.

    `events` are what a journal holds, `begun` is what the caps had let through before the last start: a cap
    may be set below what is spent already.
    """

    @initialize(budgets=st.lists(st.integers(1, 40), min_size=1, max_size=3), cap=CAPS, executed=CAPS)
    def begin(self, budgets: list[int], cap: int | None, executed: int | None) -> None:
        self.budgets = {f"u{number}": budget for number, budget in enumerate(budgets)}
        self.epochs = dict.fromkeys(self.budgets, 0)
        self.closed: set[str] = set()
        self.sent = dict.fromkeys(self.budgets, 0)
        self.charges: dict[tuple[str, int], Charge] = {}
        self.events: list[tuple[Any, ...]] = [("open", uid, 0) for uid in self.budgets]
        self.restart(cap, executed)

    def uid(self, account: int) -> str:
        return f"u{account % len(self.budgets)}"

    def under_way(self, pick: int) -> Open:
        return self.opens[sorted(self.opens)[pick % len(self.opens)]]

    def charged(self, uid: str) -> int:
        return sum(charge.key.images for charge in self.charges.values() if charge.key.uid == uid)

    def committed(self, *uids: str) -> int:
        """Images that are charged or reserved."""
        reserved = sum(one.key.images for one in self.opens.values() if one.key.uid in uids)
        return reserved + sum(map(self.charged, uids))

    def exposed(self) -> int:
        """Images that were sent, or are still to be sent for the first time."""
        return sum(self.sent.values()) + sum(one.unsent for one in self.opens.values())

    def room(self, uid: str) -> int:
        room = self.budgets[uid] - self.committed(uid)
        if self.cap is not None:
            room = min(room, self.cap - self.committed(*self.budgets))
        if self.executed is not None:
            room = min(room, self.executed - self.exposed())
        return max(0, room)

    @rule(account=ACCOUNTS, sequence=st.integers(0, 4), images=st.integers(1, 30), digest=st.booleans())
    def ask(self, account: int, sequence: int, images: int, digest: bool) -> None:
        uid, place = self.uid(account), (self.uid(account), sequence)
        request, epoch, room = (
            RequestKey(uid, sequence, str(digest), images),
            self.epochs[uid],
            self.room(uid),
        )
        known = self.opens.get(place) or self.charges.get(place)
        if uid in self.closed:
            with pytest.raises(LeaseError, match="the trial was ended"):
                self.ledger.admit(request, epoch)
        elif known is None:
            assert self.ledger.admit(request, epoch) == (Admitted() if images <= room else Refused(room))
            if images <= room:
                self.opens[place] = Open(request, images)
        elif known.key != request:
            with pytest.raises(LedgerError, match="came again with other images"):
                self.ledger.admit(request, epoch)

    @rule(account=ACCOUNTS, sequence=st.integers(0, 4), age=st.integers(1, 3))
    def ask_for_an_old_attempt(self, account: int, sequence: int, age: int) -> None:
        uid = self.uid(account)
        with pytest.raises(LeaseError, match=rf"attempt {self.epochs[uid] - age} of {uid} gets no more"):
            self.ledger.admit(key(sequence, 1, uid), self.epochs[uid] - age)

    @precondition(lambda self: self.charges or self.opens)
    @rule(pick=st.integers(0))
    def repeat(self, pick: int) -> None:
        places = sorted(place for place in self.charges | self.opens if place[0] not in self.closed)
        assume(places)
        place = places[pick % len(places)]
        known = self.opens.get(place) or self.charges[place]
        verdict = self.ledger.admit(known.key, self.epochs[place[0]])
        assert verdict == (InFlight() if isinstance(known, Open) else Recorded(known.response))

    @precondition(lambda self: self.opens)
    @rule(pick=st.integers(0), images=st.integers(1, 30))
    def send(self, pick: int, images: int) -> None:
        """An attempt with some of a request's images, for the first time or again."""
        one = self.under_way(pick)
        images = min(images, one.key.images)
        again = max(0, images - one.unsent)
        fits = self.executed is None or self.exposed() + again <= self.executed
        assert self.ledger.may_send([(one.key, images)]) == fits
        if fits:
            self.ledger.send(one.key, images)
            self.events.append(("sent", one.key.uid, images))
            self.sent[one.key.uid] += images
            one.unsent, one.last = one.unsent - (images - again), images

    @precondition(lambda self: any(one.last for one in self.opens.values()))
    @rule(pick=st.integers(0))
    def unsend(self, pick: int) -> None:
        one = self.under_way(pick)
        self.ledger.unsend(one.key, one.last)
        self.events.append(("sent", one.key.uid, -one.last))
        self.sent[one.key.uid] -= one.last
        one.unsent, one.last = one.unsent + one.last, 0

    @precondition(lambda self: self.opens)
    @rule(pick=st.integers(0), answered=st.booleans())
    def end(self, pick: int, answered: bool) -> None:
        """The teacher answers what was sent as a whole, or fails."""
        one = self.under_way(pick)
        del self.opens[one.key.uid, one.key.sequence]
        if answered and not one.unsent:
            charge = self.charges[one.key.uid, one.key.sequence] = answer(one.key)
            self.ledger.settle(charge)
            self.events.append(("charge", charge))
        else:
            self.ledger.release(one.key)

    @rule(account=ACCOUNTS)
    def close(self, account: int) -> None:
        uid = self.uid(account)
        self.ledger.close(uid)
        self.events.append(("close", uid))
        self.closed.add(uid)

    @rule(account=ACCOUNTS)
    def open(self, account: int) -> None:
        uid = self.uid(account)
        epoch = self.ledger.next_epoch(uid, self.budgets[uid])
        assert epoch == self.epochs[uid] + 1
        self.ledger.open(uid, self.budgets[uid], epoch)
        self.events.append(("open", uid, epoch))
        self.epochs[uid] = epoch
        self.closed.discard(uid)

    @rule(off=st.integers(-5, 30))
    def count(self, off: int) -> None:
        """The teacher's own counter says what of the doubtful images reached it."""
        charged, sent = sum(map(self.charged, self.budgets)), sum(self.sent.values())
        counted = charged + off
        possible = not self.opens and charged <= counted <= sent
        assert self.ledger.can_count(counted) == possible
        if possible:
            self.ledger.count(counted)
            self.events.append(("counted", counted))
            self.sent = {uid: account.executed for uid, account in self.ledger.accounts().items()}
            assert sum(self.sent.values()) == counted

    @rule(cap=CAPS, executed=CAPS)
    def restart(self, cap: int | None, executed: int | None) -> None:
        """The process dies, and another one reads the events, with other caps; nothing is under way then."""
        self.cap, self.executed = cap, executed
        self.opens: dict[tuple[str, int], Open] = {}
        self.ledger = Ledger(cap, executed)
        for event in self.events:
            match event:
                case "open", uid, epoch:
                    assert self.ledger.next_epoch(uid, self.budgets[uid]) == epoch
                    self.ledger.open(uid, self.budgets[uid], epoch)
                case "close", uid:
                    self.ledger.close(uid)
                case "sent", uid, images:
                    self.ledger.replay_sent(uid, -1, images)
                case "charge", charge:
                    self.ledger.replay_charge(charge)
                case "counted", counted:
                    assert self.ledger.can_count(counted)
                    self.ledger.count(counted)
        self.begun = self.committed(*self.budgets), self.exposed()

    @invariant()
    def the_books_agree(self) -> None:
        for uid, account in self.ledger.accounts().items():
            assert account == Account(uid, self.charged(uid), self.sent[uid], self.budgets[uid])
            assert self.ledger.remaining(uid) == self.room(uid)
            assert self.ledger.charges(uid) == {
                charge.key.sequence: charge.key for charge in self.charges.values() if charge.key.uid == uid
            }

    @invariant()
    def no_limit_is_passed_by_one_image(self) -> None:
        charged_before, sent_before = self.begun
        for uid, account in self.ledger.accounts().items():
            assert account.charged <= self.committed(uid) <= account.budget
            assert account.charged <= account.executed
        if self.cap is not None:
            assert self.committed(*self.budgets) <= max(self.cap, charged_before)
        if self.executed is not None:
            assert sum(self.sent.values()) <= self.exposed() <= max(self.executed, sent_before)


Story.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestStory = Story.TestCase
