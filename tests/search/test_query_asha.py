import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.search.query_asha import Decision, QueryAsha, judge, milestones, own_milestones

BUDGET = 400


def at(asha: QueryAsha, uid: str, queries: int, score: float | None, *extra: float) -> Decision:
    """What becomes of a trial at one of its milestones."""
    decision = asha.report(uid, 2 * queries, queries, score, True, extra)
    assert decision is not None
    return decision


@pytest.mark.parametrize(
    ("low", "high", "factor", "expected"),
    [
        (300, 5000, 2, (312, 625, 1250, 2500)),
        (300, 5000, 3, (556, 1667)),
        (313, 5000, 2, (625, 1250, 2500)),
        (2500, 5000, 2, (2500,)),
        (2501, 5000, 2, ()),
        (2000, 2000, 2, ()),
        (1, 10, 2, (1, 2, 5)),
        (1, 1, 2, ()),
    ],
)
def test_milestones_divide_the_largest_budget_down_to_the_smallest(
    low: int, high: int, factor: int, expected: tuple[int, ...]
) -> None:
    assert milestones(low, high, factor) == expected


def test_a_factor_that_makes_no_progress_is_refused() -> None:
    with pytest.raises(ValueError, match="factor must be at least 2, not 1"):
        milestones(1, 10, 1)


def test_a_trial_reports_from_a_quarter_of_its_budget_to_half() -> None:
    assert own_milestones((250, 500, 1000), 2000) == (500, 1000)
    assert own_milestones((250, 500, 1000), 1001) == (500,)
    assert own_milestones((250, 500, 1000), 1000) == (250, 500)
    assert own_milestones((250, 500, 1000), 999) == (250,)
    assert own_milestones((250, 500, 1000), 100) == ()


def test_the_better_half_goes_on_and_everybody_is_told_why() -> None:
    asha = QueryAsha([625])
    scores = [0.5, 0.7, 0.6, 0.612, 0.612]
    told = [at(asha, f"u{number}", 625, score) for number, score in enumerate(scores)]
    assert [one.reason for one in told] == [
        "goes on at 625 queries: 50.0% there, 1st of 1",
        "goes on at 625 queries: 70.0% there, 1st of 2",
        "goes on at 625 queries: 60.0% there, 2nd of 3",
        "goes on at 625 queries: 61.2% there, 2nd of 4",
        "goes on at 625 queries: 61.2% there, 2nd of 5",
    ]
    worst = at(asha, "u5", 625, 0.1)
    assert not worst.goes_on
    assert worst.reason == "stopped at 625 queries: 10.0% there, 6th of 6; the best 3 go on"


def test_with_two_only_the_best_goes_on() -> None:
    asha = QueryAsha([1250])
    at(asha, "a", 1250, 0.9)
    why = "stopped at 1,250 queries: 80.0% there, 2nd of 2; only the best goes on"
    assert at(asha, "b", 1250, 0.8) == Decision(False, 1250, why)


def test_fewer_than_the_factor_all_go_on() -> None:
    asha = QueryAsha([10], factor=4)
    assert [at(asha, uid, 10, score).goes_on for uid, score in zip("abcd", (4, 3, 2, 1), strict=True)] == [
        True, True, True, False
    ]  # fmt: skip


@pytest.mark.parametrize("missing", [math.nan, None])
def test_no_score_is_stopped_as_soon_as_there_is_somebody_to_compare_with(missing: float | None) -> None:
    asha = QueryAsha([10])
    assert at(asha, "a", 10, missing).goes_on
    assert at(asha, "b", 10, 0.1).reason == "goes on at 10 queries: 10.0% there, 1st of 2"
    assert at(asha, "c", 10, missing).reason == (
        "stopped at 10 queries: no score there, 2nd of 3; the best 2 go on"
    )


def test_a_method_without_milestone_reports_is_judged_by_what_it_held_there() -> None:
    asha = QueryAsha([100, 200, 400])
    at(asha, "other", 100, 0.5)
    at(asha, "other", 200, 0.55)
    assert asha.report("u", BUDGET, 40, 0.3, False) is None
    assert asha.report("u", BUDGET, 100, 0.6, False) is None, "it may report once more at 100"
    decision = asha.report("u", BUDGET, 250, 0.9, False)
    assert decision is not None
    assert decision.reason == "goes on at 200 queries: 60.0% there, 1st of 2"
    assert asha.report("u", BUDGET, 260, 0.1, False) is None
    decision = asha.report("v", BUDGET, 50, 0.4, False) or asha.report("v", BUDGET, 500, 0.9, False)
    assert decision == Decision(False, 100, "stopped at 100 queries: 40.0% there, 3rd of 3; the best 2 go on")


def test_a_first_report_from_beyond_a_milestone_is_not_judged_there() -> None:
    asha = QueryAsha([100])
    assert asha.report("u", BUDGET, 150, 0.9, False) is None
    assert asha.report("u", BUDGET, 160, 0.9, False) is None
    assert at(asha, "v", 100, 0.1).reason == "goes on at 100 queries: 10.0% there, 1st of 1"


def test_a_trial_is_not_judged_where_less_than_half_of_its_budget_is_left() -> None:
    asha = QueryAsha([100])
    assert asha.report("u", 199, 100, 0.9, True) is None
    assert asha.report("u", 199, 150, 0.9, False) is None
    assert asha.report("v", 200, 100, 0.1, True) is not None


@pytest.mark.parametrize(
    ("queries", "rung"), [(50, None), (51, 100), (100, 100), (101, 200), (200, 200), (201, None)]
)
def test_what_a_finished_trial_bought_counts_at_the_next_milestone(queries: int, rung: int | None) -> None:
    for milestone in (100, 200):
        asha = QueryAsha([100, 200])
        asha.ended("short", queries, 0.9)
        assert at(asha, "u", milestone, 0.5).goes_on == (milestone != rung)


def test_more_objectives_spare_what_nothing_dominates_and_the_score_breaks_ties() -> None:
    asha = QueryAsha([10], extras=1)
    at(asha, "good", 10, 0.9, 5.0)
    assert not at(asha, "neither", 10, 0.4, 6.0).goes_on
    assert at(asha, "cheap", 10, 0.3, 1.0).goes_on, "nothing dominates it, though its score is the worst"
    values = np.array([[0.9, 5.0], [0.5, 1.0], [0.8, 5.0], [0.4, 1.0], [math.nan, 0.1], [0.7, math.nan]])
    assert [judge(own, values, 2).place for own in range(6)] == [1, 2, 3, 4, 6, 5]
    with pytest.raises(ValueError, match="needs 1 extra objectives, but got 0"):
        at(asha, "u", 10, 0.9)


SCORES = st.one_of(st.floats(0, 1), st.just(math.nan))
ENTRIES = st.lists(st.tuples(SCORES, st.floats(0, 9)), min_size=1, max_size=12)


@given(ENTRIES, st.integers(2, 5), st.booleans())
def test_the_best_of_a_rung_is_never_stopped(entries: Any, factor: int, extras: bool) -> None:
    values = np.array(entries)[:, : 1 + extras]
    for own in range(len(values)):
        score, *costs = values[own]
        best = np.nanmax(values[:, 0]) if not np.isnan(values[:, 0]).all() else math.nan
        if score == best:
            as_good = values[values[:, 0] == best]
            if not costs or costs[0] == as_good[:, 1].min():
                assert judge(own, values, factor).goes_on
        if math.isnan(score):
            assert judge(own, values, factor).goes_on == (len(values) < factor)


@given(ENTRIES, st.randoms(use_true_random=False), SCORES)
def test_what_a_rung_holds_does_not_depend_on_who_came_first(entries: Any, random: Any, last: float) -> None:
    told = list(enumerate(entries))
    decisions = []
    for _ in range(2):
        asha = QueryAsha([10])
        for number, (score, _) in told:
            at(asha, f"u{number}", 10, score)
        decisions.append(at(asha, "last", 10, last))
        random.shuffle(told)
    assert decisions[0] == decisions[1]


@given(SCORES, SCORES, st.integers(101, 1000))
def test_a_value_from_beyond_a_milestone_never_counts_for_it(
    held: float, beyond: float, queries: int
) -> None:
    decisions = []
    for later in (beyond, 0.5):
        asha = QueryAsha([100])
        asha.report("u", BUDGET, 90, held, False)
        asha.report("u", BUDGET, queries, later, False)
        asha.ended("u", queries, later)
        asha.ended("w", queries, later)
        decisions.append(at(asha, "v", 100, 0.5))
    assert decisions[0] == decisions[1]


CURVES = st.lists(st.lists(SCORES, min_size=1, max_size=6), min_size=1, max_size=6)


@given(CURVES, st.booleans(), st.randoms(use_true_random=False))
def test_a_scheduler_that_replays_a_run_goes_on_like_the_one_that_made_it(
    curves: list[list[float]], aligned: bool, random: Any
) -> None:
    """Trials report in turn, at milestones or between them; any time may be that of a kill."""
    rungs, budget = (10, 20), 40
    whole = QueryAsha(rungs)
    stopped: set[str] = set()
    rows: list[tuple[Any, ...]] = []
    ahead = {f"u{number}": list(enumerate(curve)) for number, curve in enumerate(curves)}
    while ahead:
        uid = random.choice(sorted(ahead))
        step, score = ahead[uid].pop(0)
        row = (uid, budget, rungs[step % 2] if aligned else 8 * step + 1, score, aligned)
        rebuilt = QueryAsha(rungs)
        for known in sorted(rows, key=lambda row: row[0]):  # as the store has them: by trial
            rebuilt.replay(*known)
        for known in rows:
            if known[0] not in stopped:
                again = rebuilt.report(*known)
                assert again is None or again.goes_on, "nobody is judged twice"
        decision, other = whole.report(*row), rebuilt.report(*row)
        if aligned and step > 1:
            assert decision and other and decision.goes_on == other.goes_on
        else:
            assert decision == other
        rows.append(row)
        if decision is not None and not decision.goes_on:
            stopped.add(uid)
        if uid in stopped or not ahead[uid]:
            del ahead[uid]
