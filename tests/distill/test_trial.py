import hashlib
import io
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trial import (
    DFME,
    TASK,
    CutOff,
    Door,
    MemoryKeeper,
    config,
    held_out,
    pictures,
    real_images,
    timeless,
    train,
)

from raysys.distill.trial import Outcome, run_trial
from raysys.errors import CorruptRunError, LedgerError, StorageError, UsageError
from raysys.models.weights import state_sha256
from raysys.oracle import BudgetExhausted, Images, Oracle, Response
from raysys.records import PARTS, Task, TrialConfig
from raysys.teacher.service import LocalOracle

RICH: dict[str, Any] = {
    "warmup_share": 0.4,
    "warmup_rounds": 2,
    "warmup_candidates": 3,
    "latent_lr": 0.1,
    "reset_generator": False,
    "entropy": "batch_marginal",
    "target_smoothing": 0.1,
    "augment_query": 0.3,
    "mixup": 0.2,
    "ema": 0.5,
    "self_distill": 0.5,
    "generations": 2,
    "epochs": 2,
}
"""Everything that has a state, in one trial."""
PICKY: dict[str, Any] = {
    "confidence_filter": 0.18,
    "high_entropy": 1,
    "latent_lr": 0.01,
    "wrong_weight": 3.0,
    "augment_query": 1.0,
    "g_lr": 0.05,
}
"""A filter that lets all pass, then none, then some."""
KINDS: dict[str, dict[str, Any]] = {
    "published": {},
    "rich": RICH,
    "restart": {"restart": True, "optimizer": "adamw", "balance": False},
    "official": {"labels": "official", "warmup_share": 0.1, "query_budget": 130},
    "picky": PICKY,
    "noise": {"method": "noise", "kind": "uniform", "rounds": 3, "candidates": 2, "ema": 0.5},
    "surrogate": {"method": "surrogate", "query_budget": 80, "rounds": 3, "candidates": 2, "ema": 0.5},
}
SEARCHES: dict[str, Any] = {"distance": "minimal", "bisections": 2, "neighbours": 4, "turns": 2, "block": 4}
OTHERS: dict[str, dict[str, Any]] = {
    "dfme": {
        **DFME,
        "directions": 2,
        "g_iter": 2,
        "d_iter": 2,
        "replay": 2,
        "rounds": 2,
        "pool_limit": 50,
        "ema": 0.5,
        "generations": 2,
        "self_distill": 0.5,
    },
    "db3kd": {"method": "db3kd", "query_budget": 140, **SEARCHES, "candidates": 2, "ema": 0.5},
    "zsdb3kd": {"method": "zsdb3kd", "query_budget": 150, **SEARCHES, "moves": 1, "search_rounds": 1},
}
"""Methods that ask for more than images to learn from; several iterations, or blocks with all searches."""


def once(folder: Path, **options: Any) -> tuple[Outcome, list[int], int]:
    """The outcome of a trial on a fresh ledger, the sizes of its requests, and its charge."""
    what = config(**options)
    with Door(folder, what.response) as door:
        outcome = train(door, what, images=real_images(what))
        return outcome, door.teacher.forwards, door.account().charged


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        ({}, [20, 20, 10]),
        ({"query_budget": 60}, [20, 20, 20]),
        ({"query_budget": 59}, [20, 20, 19]),
        ({"query_budget": 61}, [20, 20, 20]),
        ({"query_budget": 20}, [20]),
        ({"epochs": 1}, [20]),
        ({"epochs": 6}, [20, 20, 10]),
        ({"passes": 0, "final_passes": 0}, [20, 20, 10]),
        ({"warmup_share": 0.5}, [25, 20, 5]),
        ({"warmup_share": 1.0}, [50]),
        ({"warmup_share": 1.0, "warmup_rounds": 3}, [17, 16, 17]),
        ({"warmup_share": 0.5, "warmup_rounds": 3, "warmup_candidates": 2}, [8, 9, 8, 20, 5]),
        ({"warmup_share": 0.04, "warmup_rounds": 4}, [1, 1, 20, 20, 8]),
        ({"warmup_share": 0.001}, [20, 20, 10]),
        ({"warmup_rounds": 5}, [20, 20, 10]),
        ({"method": "noise"}, [50]),
        ({"method": "noise", "rounds": 3}, [17, 16, 17]),
        ({"method": "noise", "rounds": 60, "query_budget": 30}, [1] * 30),
        ({"method": "noise", "candidates": 100, "query_budget": 90}, [40, 40, 10]),
    ],
)
def test_a_trial_asks_what_its_options_say_and_nothing_else(
    tmp_path: Path, options: dict[str, Any], requests: list[int]
) -> None:
    outcome, asked, charged = once(tmp_path, **options)
    assert asked == requests, "a batch an epoch, and none while the generator trains"
    assert charged == sum(requests) <= options.get("query_budget", 50)
    assert outcome.reports[-1].queries == outcome.reports[-1].pool_size == charged


def test_each_report_tells_what_was_charged_until_then(tmp_path: Path) -> None:
    outcome, _, _ = once(tmp_path, warmup_share=0.2, warmup_rounds=2, final_passes=12)
    queries = [report.queries for report in outcome.reports]
    assert queries == [5, 10, 30, 50, 50] + [50] * 4
    assert [report.step for report in outcome.reports] == list(range(9))
    assert all(math.isfinite(loss) for report in outcome.reports for loss in report.losses.values())
    generated = ["generator" in report.losses for report in outcome.reports]
    assert generated == [False, False, True, True, *[False] * 5], "not once the budget is spent"
    assert not outcome.student.training


@pytest.mark.parametrize(
    ("max_queries", "requests"),
    [(50, [20, 20, 10]), (49, [20, 20, 9]), (30, [20, 10]), (20, [20]), (19, [19]), (1, [1]), (0, [])],
)
def test_a_run_budget_below_the_trials_is_spent_to_the_last_image(
    tmp_path: Path, max_queries: int, requests: list[int]
) -> None:
    with Door(tmp_path, max_queries=max_queries) as door:
        outcome = train(door, config())
        assert door.teacher.forwards == requests
        assert door.account().charged == outcome.reports[-1].queries == sum(requests)
    assert len(outcome.reports) == 3 + 2
    assert all(parameter.isfinite().all() for parameter in outcome.student.parameters())


@pytest.mark.parametrize("max_queries", [7, 30, 73, 110, 149, 150])
def test_trials_that_ask_at_once_spend_a_run_budget_exactly(tmp_path: Path, max_queries: int) -> None:
    trials = [replace(config(seed), uid=f"u0000{seed}") for seed in range(3)]
    with Door(tmp_path, max_queries=max_queries) as door, ThreadPoolExecutor(3) as threads:
        outcomes = list(threads.map(lambda trial: train(door, trial), trials))
        charged = [door.account(trial.uid).charged for trial in trials]
    assert sum(charged) == max_queries
    assert [outcome.reports[-1].queries for outcome in outcomes] == charged
    assert [outcome.reports[-1].pool_size for outcome in outcomes] == charged


def test_what_others_ask_between_a_refusal_and_the_next_try_is_left_to_them(tmp_path: Path) -> None:
    quick = iter([3, 2])

    class Crowded:
        """After a refusal, another trial is faster."""

        def __init__(self, oracle: Oracle) -> None:
            self._oracle = oracle
            self.epoch = oracle.epoch

        def ask(self, images: Images, sequence: int) -> Response | BudgetExhausted:
            reply = self._oracle.ask(images, sequence)
            if isinstance(reply, BudgetExhausted) and (n := next(quick, 0)):
                LocalOracle(door.service, "u00001", 50).ask(pictures(n), n)
            return reply

    with Door(tmp_path, max_queries=33) as door:
        outcome = train(door, config(), wrap=Crowded)
        assert door.teacher.forwards == [20, 3, 2, 8]
        assert outcome.reports[-1].queries == outcome.reports[-1].pool_size == 28


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"official"}))
def test_images_are_asked_as_bytes_and_only_once(tmp_path: Path, kind: str) -> None:
    keeper, what = MemoryKeeper(), config(**KINDS[kind])
    with Door(tmp_path) as door:
        train(door, what, keeper, images=real_images(what))
        asked = door.teacher.asked
    assert all(images.dtype == np.uint8 and images.shape[1:] == TASK.image_shape for images in asked)
    digests = [hashlib.sha256(image.tobytes()).digest() for images in asked for image in images]
    assert len(set(digests)) == len(digests)
    for (_, shown), images in zip(keeper.shown, asked, strict=True):
        np.testing.assert_array_equal(shown, images[:64])


@pytest.mark.parametrize("student", ["mlp", "cnn3"])
@pytest.mark.parametrize("options", [*KINDS.values(), *OTHERS.values()], ids=[*KINDS, *OTHERS])
def test_config_and_seed_decide_the_student(tmp_path: Path, student: str, options: dict[str, Any]) -> None:
    first, again, other = (
        once(tmp_path / str(number), seed=seed, student=student, **options)[0]
        for number, seed in enumerate((3, 3, 4))
    )
    assert state_sha256(first.student) == state_sha256(again.student) != state_sha256(other.student)
    assert timeless(first.reports) == timeless(again.reports)


@pytest.mark.parametrize("after", [False, True], ids=["before the save", "after the save"])
@pytest.mark.parametrize(
    ("kind", "response", "cap"),
    [
        ("published", "hard", None),
        ("published", "hard", 30),
        ("rich", "soft", None),
        ("restart", "hard", None),
        ("official", "soft", None),
        ("picky", "hard", None),
        ("noise", "hard", 30),
        ("surrogate", "hard", None),
        ("surrogate", "hard", 30),
    ],
)
def test_interrupted_anywhere_it_ends_with_the_same_student_and_charge(
    tmp_path: Path, kind: str, response: str, cap: int | None, after: bool
) -> None:
    what = config(response=response, student="cnn3", **KINDS[kind])
    interrupt_everywhere(tmp_path, what, cap, after)


@pytest.mark.parametrize(
    ("kind", "cap"),
    [
        ("dfme", None),
        ("dfme", 50),  # in the middle of a generator's step
        ("dfme", 74),  # in the middle of a student's step
        ("db3kd", None),
        ("db3kd", 20),
        ("zsdb3kd", None),
        ("zsdb3kd", 20),
    ],
)
def test_so_it_does_whatever_the_method_asks_for(tmp_path: Path, kind: str, cap: int | None) -> None:
    """After each save: no request is kept that would hide what a state has lost."""
    student = "cnn3" if kind == "dfme" else "mlp"
    interrupt_everywhere(tmp_path, config(student=student, **OTHERS[kind]), cap, after=True)


def interrupt_everywhere(folder: Path, what: TrialConfig, cap: int | None, after: bool) -> None:
    """Break each save of a trial in turn, and hold what it ends with against one that nothing happened to."""
    with Door(folder / "straight", what.response, cap) as door:
        straight = train(door, what, images=real_images(what))
        forwards, charged = door.teacher.forwards, door.account().charged
    for number in range(len(straight.reports)):
        own = folder / str(number)
        keeper = MemoryKeeper(fail_at=number, after=after)
        with Door(own, what.response, cap) as door, pytest.raises(InterruptedError):
            train(door, what, keeper, images=real_images(what))
        before = door.teacher.forwards
        with Door(own, what.response, cap) as door:  # a new process: nothing but the journal and the state
            resumed = train(door, what, keeper, images=real_images(what))
            assert before + door.teacher.forwards == forwards, "what was answered is not computed again"
            assert door.account().charged == charged
        assert state_sha256(resumed.student) == state_sha256(straight.student)
        assert timeless(resumed.reports) == timeless(straight.reports)
        assert resumed.note == straight.note


CUT_OFF: list[tuple[dict[str, Any], int | None]] = [
    (RICH, None),
    (RICH, 33),  # in the middle of a batch, then with nothing left
    (
        {"query_budget": 100, "warmup_share": 1.0, "warmup_candidates": 100, "epochs": 1},
        70,
    ),  # 40, 30: a state
]


def cut_off_everywhere(folder: Path, calls: int, cap: int | None, options: dict[str, Any]) -> Any:
    """For moments around the calls: what a trial that is cut off there leaves, and a new door."""
    what = config(**options)
    for number in range(0, 2 * calls, calls // 6 | 1):  # an odd step: before some calls, after others
        keeper, cut = MemoryKeeper(), CutOff(number // 2, after=number % 2 == 1)
        with Door(folder / str(number), what.response, cap) as door, pytest.raises(InterruptedError):
            train(door, what, keeper, cut, images=real_images(what))
        asked = door.teacher.asked
        with Door(folder / str(number), what.response, cap) as door:
            yield keeper, asked, door


def on_another_machine(keeper: MemoryKeeper) -> None:
    """Let the next attempt make other images than the last one, as other floating point does."""
    if keeper.states:
        state = unchecked(keeper.states[-1])
        state["method"]["rng"] = torch.Generator().manual_seed(99).get_state()
        keeper.states[-1] = checked(state)


@pytest.mark.parametrize(("options", "cap"), [*CUT_OFF, *((options, None) for options in OTHERS.values())])
def test_cut_off_around_any_request_it_ends_with_the_same_student(
    tmp_path: Path, options: dict[str, Any], cap: int | None
) -> None:
    what, line = config(**options), CutOff()
    with Door(tmp_path / "straight", what.response, cap) as door:
        straight = train(door, what, wrap=line, images=real_images(what))
        forwards = door.teacher.forwards
    for keeper, asked, door in cut_off_everywhere(tmp_path, line.calls, cap, options):
        resumed = train(door, what, keeper, images=real_images(what))
        assert [len(images) for images in asked] + door.teacher.forwards == forwards
        assert state_sha256(resumed.student) == state_sha256(straight.student)
        assert timeless(resumed.reports) == timeless(straight.reports)


@pytest.mark.parametrize(("options", "cap"), CUT_OFF)
def test_gone_on_with_on_another_machine_it_asks_nothing_twice_and_learns_what_it_paid_for(
    tmp_path: Path, options: dict[str, Any], cap: int | None
) -> None:
    line = CutOff()
    with Door(tmp_path / "straight", max_queries=cap) as door:
        train(door, config(**options), wrap=line)
        charged = door.account().charged
    for keeper, asked, door in cut_off_everywhere(tmp_path, line.calls, cap, options):
        on_another_machine(keeper)
        resumed = train(door, config(seed=1, **options), keeper)
        asked = [*asked, *door.teacher.asked]
        account = door.account()
        assert account.charged == account.executed == resumed.reports[-1].queries == charged
        pool = unchecked(keeper.states[-1])["method"]["pool"]["images"]
        np.testing.assert_array_equal(pool, np.concatenate(asked))


@pytest.mark.parametrize("kind", OTHERS)
def test_any_method_goes_on_on_another_machine_and_pays_nothing_twice(tmp_path: Path, kind: str) -> None:
    what, line = config(**OTHERS[kind]), CutOff()
    images, budget = real_images(what), int(what.options["query_budget"])
    with Door(tmp_path / "straight", what.response) as door:
        train(door, what, wrap=line, images=images)
    for keeper, _, door in cut_off_everywhere(tmp_path, line.calls, None, OTHERS[kind]):
        on_another_machine(keeper)
        resumed = train(door, what, keeper, images=images)
        account = door.account()
        assert account.charged == account.executed == resumed.reports[-1].queries <= budget
        assert all(parameter.isfinite().all() for parameter in resumed.student.parameters())


def test_without_the_kept_images_another_machine_contradicts_the_ledger(tmp_path: Path) -> None:
    for keeper, _, door in cut_off_everywhere(tmp_path, 1, None, RICH):
        keeper.requests.clear()
        if door.account().charged:
            with pytest.raises(LedgerError, match="came again with other images"):
                train(door, config(seed=1, **RICH), keeper)
        else:  # it was never asked: nothing is lost
            train(door, config(seed=1, **RICH), keeper)
            assert door.account().charged == 50


def test_nothing_is_asked_that_could_not_be_kept(tmp_path: Path) -> None:
    class FullDisk(MemoryKeeper):
        def keep_request(self, sequence: int, images: Images) -> None:
            raise StorageError("the disk is full")

    with Door(tmp_path) as door:
        with pytest.raises(StorageError, match="the disk is full"):
            train(door, config(), FullDisk())
        assert door.teacher.forwards == []


def test_a_finished_trial_run_again_only_tells_its_reports(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    with Door(tmp_path) as door:
        first = train(door, config(**RICH), keeper)
        again = train(door, config(**RICH), MemoryKeeper(keeper.load()))
        assert len(door.teacher.forwards) == 4
    assert timeless(again.reports) == timeless(first.reports)
    assert state_sha256(again.student) == state_sha256(first.student)


def test_seconds_go_on_after_an_interruption(tmp_path: Path) -> None:
    ticks = iter(range(1000))
    keeper = MemoryKeeper(fail_at=1, after=True)

    def run(keeper: MemoryKeeper) -> Outcome:
        oracle = LocalOracle(door.service, "u00000", 50)
        clock = lambda: float(next(ticks))  # noqa: E731
        return run_trial(config(), TASK, oracle, held_out(), keeper, lambda reports: None, clock)

    with Door(tmp_path) as door:
        with pytest.raises(InterruptedError):
            run(keeper)
        reports = run(keeper).reports
    seconds = [report.seconds for report in reports]
    assert all(earlier < later for earlier, later in pairwise(seconds))
    for report in reports:
        assert set(report.seconds_by) == set(PARTS)
        assert sum(report.seconds_by.values()) == report.seconds
    for earlier, later in pairwise(reports):
        assert all(earlier.seconds_by[part] <= later.seconds_by[part] for part in PARTS)
    assert [report.attempt for report in reports] == [0, 0, 1, 1, 1]


def test_a_soft_teacher_teaches_more_than_its_labels(tmp_path: Path) -> None:
    students = []
    for response in ("hard", "soft"):
        with Door(tmp_path / response, response) as door:
            students.append(state_sha256(train(door, config(response=response)).student))
    assert students[0] != students[1]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    keeper = MemoryKeeper()
    with Door(tmp_path_factory.mktemp("state")) as door:
        train(door, config(), keeper)
    return keeper.states[1]


def test_a_state_that_is_none_is_refused(tmp_path: Path, state: bytes) -> None:
    with Door(tmp_path) as door:
        for one in (b"", state[:3], state[: len(state) // 2]):
            with pytest.raises(CorruptRunError, match="a trial's saved state cannot be read"):
                train(door, config(), MemoryKeeper(one))
        assert door.teacher.forwards == []


def checked(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    with (
        Door(tmp_path) as door,
        pytest.raises(CorruptRunError, match=r"has version 99, this raysys reads 2 and 3\n"),
    ):
        train(door, config(), MemoryKeeper(checked({"version": 99})))


def unchecked(state: bytes) -> Any:
    return torch.load(io.BytesIO(state), weights_only=True)  # noqa: TID251


class Harmful:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_no_code_of_a_state_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "was here"
    with Door(tmp_path) as door, pytest.raises(CorruptRunError, match="a trial's saved state cannot be read"):
        train(door, config(), MemoryKeeper(checked({"version": 1, "method": Harmful(mark)})))
    assert not mark.exists()


def test_options_that_do_not_fit_the_task_are_refused_before_any_query(tmp_path: Path) -> None:
    task = Task("digits", (1, 8, 8), 7, False)
    with Door(tmp_path) as door:
        oracle = LocalOracle(door.service, "u00000", 50)
        with pytest.raises(UsageError, match=r"batch_size=20 does not divide by the 7 classes(?s:.*)=21"):
            run_trial(config(), task, oracle, held_out(), MemoryKeeper(), lambda reports: None, lambda: 0.0)
        assert door.account().charged == 0
