from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tiny_trial import (
    DFME,
    TASK,
    Door,
    MemoryKeeper,
    config,
    held_out,
    pictures,
    real_images,
    train,
)

from raysys.distill.engine import Pass
from raysys.distill.image_pool import ImagePool
from raysys.distill.options import StudentOptions
from raysys.distill.pack import Pack, Roll
from raysys.distill.student import StudentTrainer
from raysys.distill.together import Job, grouped
from raysys.distill.trial import Outcome
from raysys.models.classifiers import build_classifier
from raysys.models.weights import state_sha256
from raysys.oracle import Response
from raysys.records import TrialConfig

SECONDS = 120
"""A pack that hangs fails its test."""


@dataclass(frozen=True)
class Done:
    """A trial that has ended: what it delivers, the sizes of its requests, and its charge."""

    outcome: Outcome
    forwards: Sequence[int]
    charged: int

    @property
    def logits(self) -> torch.Tensor:
        images = torch.from_numpy(held_out(200).images).float() / 255
        with torch.no_grad():
            logits: torch.Tensor = self.outcome.student(images)
        return logits


def started(
    folder: Path, trials: Sequence[TrialConfig], keepers: Mapping[int, MemoryKeeper] | None = None
) -> list[Future[Done]]:
    """The trials in one pack, each at a door of its own; all have ended."""
    pack = Pack()

    def run(number: int, what: TrialConfig, stack: ExitStack, engine: Any) -> Done:
        with stack, Door(folder / str(number), what.response) as door:
            keeper = (keepers or {}).get(number)
            outcome = train(door, what, keeper, images=real_images(what), engine=engine)
            return Done(outcome, door.teacher.forwards, door.account().charged)

    futures = []
    with ThreadPoolExecutor(len(trials)) as threads:
        members = [(stack := ExitStack(), stack.enter_context(pack.member())) for _ in trials]
        for number, (what, (stack, engine)) in enumerate(zip(trials, members, strict=True)):
            futures.append(threads.submit(run, number, what, stack, engine))
        for future in futures:
            future.exception(timeout=SECONDS)
    return futures


def packed(
    folder: Path, trials: Sequence[TrialConfig], keepers: Mapping[int, MemoryKeeper] | None = None
) -> list[Done]:
    return [future.result() for future in started(folder, trials, keepers)]


def alone(folder: Path, what: TrialConfig, keeper: MemoryKeeper | None = None) -> Done:
    with Door(folder, what.response) as door:
        outcome = train(door, what, keeper, images=real_images(what))
        return Done(outcome, door.teacher.forwards, door.account().charged)


MIXED: dict[str, list[dict[str, Any]]] = {
    "ideal": [
        {"student": "mlp", "warmup_share": 0.4},
        {"student": "mlp", "lr": 0.01, "entropy_weight": 1.0, "g_lr": 0.002, "g_steps": 3, "augment": 0.2},
        {"student": "cnn3", "wrong_weight": 2.0, "final_passes": 4, "lr": 0.01},
        {"student": "cnn3", "query_budget": 70, "weight_decay": 0.0, "lr": 0.02},
    ],
    "noise": [
        {"student": "mlp"},
        {"student": "mlp", "query_budget": 70, "mixup": 0.3, "lr": 0.01},
        {"student": "cnn3", "optimizer": "adamw", "lr": 0.001},
        {"student": "cnn3", "rounds": 2, "lr": 0.01},
    ],
}
"""Trials of which the first two, and the last two, have one shape."""


def trials(method: str, k: int) -> list[TrialConfig]:
    float32 = {"precision": "float32"} if method == "ideal" else {}
    return [config(seed, method=method, **{**float32, **own}) for seed, own in enumerate(MIXED[method][:k])]


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("method", MIXED)
def test_trials_in_a_pack_ask_and_report_what_they_would_alone(tmp_path: Path, method: str, k: int) -> None:
    """Rounding differs, hence the logits within 1 % of the largest one."""
    for number, (what, done) in enumerate(
        zip(trials(method, k), packed(tmp_path / "pack", trials(method, k)), strict=True)
    ):
        straight = alone(tmp_path / f"alone {number}", what)
        assert done.forwards == straight.forwards
        assert done.charged == straight.charged
        assert [report.queries for report in done.outcome.reports] == [
            report.queries for report in straight.outcome.reports
        ]
        assert (done.logits - straight.logits).abs().max() <= 0.01 * straight.logits.abs().max()
        if k == 1:
            assert state_sha256(done.outcome.student) == state_sha256(straight.outcome.student)


KINDS: dict[str, dict[str, Any]] = {
    "bfloat16": {},
    "rich": {
        "warmup_share": 0.4,
        "latent_lr": 0.1,
        "reset_generator": False,
        "entropy": "batch_marginal",
        "mixup": 0.2,
        "ema": 0.5,
        "self_distill": 0.5,
        "generations": 2,
    },
    "official": {"labels": "official", "query_budget": 130},
    "surrogate": {"method": "surrogate", "query_budget": 80, "rounds": 3, "candidates": 2},
    "dfme": {
        **DFME,
        "directions": 2,
    },
    "db3kd": {
        "method": "db3kd",
        "query_budget": 140,
        "bisections": 2,
        "neighbours": 4,
        "turns": 2,
        "block": 4,
    },
    "zsdb3kd": {"method": "zsdb3kd", "query_budget": 150, "bisections": 2, "neighbours": 4, "turns": 2},
}


def test_every_method_runs_in_a_pack_of_all(tmp_path: Path) -> None:
    pair = [config(seed, student="cnn3", **own) for own in KINDS.values() for seed in range(2)]
    for what, done in zip(pair, packed(tmp_path, pair), strict=True):
        assert 0 < done.charged == done.outcome.reports[-1].queries <= int(what.options["query_budget"])
        assert all(parameter.isfinite().all() for parameter in done.outcome.student.parameters())


@pytest.mark.parametrize("together", [True, False], ids=["from a pack", "into a pack"])
def test_a_trial_goes_on_from_a_state_of_the_other_kind(tmp_path: Path, together: bool) -> None:
    for method in MIXED:
        pair = trials(method, 2)
        for number, what in enumerate(pair):
            folder = tmp_path / method / str(number)
            keeper = MemoryKeeper(fail_at=1, after=True)
            others = [what, pair[1 - number]]
            if together:
                cut_off = started(folder, others, {0: keeper})[0]
                with pytest.raises(InterruptedError, match="pulled the plug"):
                    cut_off.result()
                done = alone(folder / "0", what, keeper)
            else:
                with pytest.raises(InterruptedError, match="pulled the plug"):
                    alone(folder / "0", what, keeper)
                done = packed(folder, others, {0: keeper})[0]
            straight = alone(folder / "straight", what)
            assert done.charged == straight.charged
            assert len(done.outcome.reports) == len(straight.outcome.reports)
            assert (done.logits - straight.logits).abs().max() <= 0.01 * straight.logits.abs().max()


def test_a_member_that_fails_fails_alone(tmp_path: Path) -> None:
    good = packed(tmp_path / "good", trials("ideal", 2))
    keeper = MemoryKeeper(fail_at=1)
    futures = started(tmp_path / "bad", trials("ideal", 2), {1: keeper})
    with pytest.raises(InterruptedError, match="pulled the plug"):
        futures[1].result()
    done = futures[0].result()
    assert done.forwards == good[0].forwards
    assert [report.queries for report in done.outcome.reports] == [
        report.queries for report in good[0].outcome.reports
    ]
    assert (done.logits - good[0].logits).abs().max() <= 0.01 * good[0].logits.abs().max()


def test_a_trial_that_diverges_takes_nobody_along(tmp_path: Path) -> None:
    calm = config(1, method="noise", student="cnn3")
    wild = config(2, method="noise", student="cnn3", lr=10.0, final_passes=60, weight_decay=1.0)
    done, diverged = packed(tmp_path / "pack", [calm, wild])
    straight = alone(tmp_path / "alone", calm)
    assert diverged.outcome.note.startswith("diverged")
    assert (done.logits - straight.logits).abs().max() <= 0.01 * straight.logits.abs().max()


def a_pass(pool: ImagePool | None = None, seed: int = 0) -> Pass:
    filled = ImagePool(TASK.image_shape, TASK.num_classes)
    filled.add(pictures(40), Response(np.arange(40) % 10))
    trainer = StudentTrainer(build_classifier("mlp", TASK, seed=seed), StudentOptions(train_batch=16), TASK)
    return Pass(trainer, filled if pool is None else pool, torch.Generator().manual_seed(seed))


def at_once(works: Sequence[Pass]) -> list[Future[float]]:
    """Each work by a member of one pack."""
    pack = Pack()

    def run(work: Pass, stack: ExitStack, engine: Any) -> float:
        with stack:
            loss: float = engine.run_pass(work)
            return loss

    with ThreadPoolExecutor(len(works)) as threads:
        members = [(stack := ExitStack(), stack.enter_context(pack.member())) for _ in works]
        futures = [threads.submit(run, work, *member) for work, member in zip(works, members, strict=True)]
        for future in futures:
            future.exception(timeout=SECONDS)
    return futures


def test_an_error_in_works_that_are_done_together_is_only_its_members() -> None:
    spoilt = ImagePool((1, 12, 12), TASK.num_classes)
    spoilt.add(np.zeros((40, 1, 12, 12), np.uint8), Response(np.arange(40) % 10))
    works = [a_pass(seed=0), a_pass(spoilt, seed=1), a_pass(seed=2), a_pass(seed=3)]
    twins = [a_pass(seed=0), a_pass(seed=2), a_pass(seed=3)]
    futures = at_once(works)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        futures.pop(1).result()
    losses = [twin.trainer.run_pass(twin.pool, twin.rng) for twin in twins]
    assert [future.result() for future in futures] == pytest.approx(losses, rel=1e-5)


def test_ctrl_c_ends_every_call() -> None:
    class Interrupted(ImagePool):
        def order(self, balance: bool, rng: torch.Generator) -> torch.Tensor:
            raise KeyboardInterrupt

    pool = Interrupted(TASK.image_shape, TASK.num_classes)
    for future in at_once([a_pass(seed=0), a_pass(pool, seed=1), a_pass(seed=2)]):
        assert isinstance(future.exception(), KeyboardInterrupt)


def test_a_member_that_never_calls_lets_the_others_go_on_when_it_leaves() -> None:
    pack, work = Pack(), a_pass()
    with ThreadPoolExecutor(1) as threads, pack.member() as engine:
        with pack.member():
            call = threads.submit(engine.run_pass, work)
        assert call.result(timeout=SECONDS) > 0
    with pytest.raises(ValueError, match="this member has left its pack"):
        engine.run_pass(work)


class RollCall(RuleBasedStateMachine):
    """Any members, in any order: works are due when all wait, and each is taken once."""

    @initialize()
    def begin(self) -> None:
        self.roll = Roll()
        self.waiting: dict[int, Job | None] = {}

    @rule()
    def join(self) -> None:
        number = self.roll.join()
        assert number not in self.waiting
        self.waiting[number] = None

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.waiting:
            number = data.draw(st.sampled_from(sorted(self.waiting)))
            self.roll.leave(number)
            del self.waiting[number]

    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        if busy := [number for number, job in self.waiting.items() if job is None]:
            number = data.draw(st.sampled_from(busy))
            self.waiting[number] = job = Job(WORK)
            self.roll.wait(number, job)

    @rule()
    def take(self) -> None:
        jobs = self.roll.take()
        all_wait = bool(self.waiting) and all(self.waiting.values())
        assert jobs == ([self.waiting[number] for number in sorted(self.waiting)] if all_wait else [])
        if all_wait:
            self.waiting = dict.fromkeys(self.waiting)

    @invariant()
    def due(self) -> None:
        if hasattr(self, "roll"):
            assert self.roll.due() == (bool(self.waiting) and all(self.waiting.values()))


WORK = a_pass()
TestRollCall = RollCall.TestCase


def test_works_of_one_shape_are_grouped_the_longest_first() -> None:
    def job(student: str, n: int, **recipe: Any) -> Job:
        pool = ImagePool(TASK.image_shape, TASK.num_classes)
        pool.add(pictures(n), Response(np.arange(n) % 10))
        options = StudentOptions(train_batch=16, **recipe)
        trainer = StudentTrainer(build_classifier(student, TASK, seed=n), options, TASK)
        return Job(Pass(trainer, pool, torch.Generator()))

    one, two, three = job("mlp", 20), job("mlp", 33, lr=0.5, augment=0.1, wrong_weight=3), job("mlp", 21)
    other = job("lenet5", 20)
    apart = [
        job("mlp", 20, **own)
        for own in ({"ema": 0.5}, {"mixup": 0.5}, {"augment": 0}, {"optimizer": "adamw"})
    ]
    assert grouped([one, other, two, *apart, three]) == [
        [two, three, one],
        [other],
        *([job] for job in apart),
    ]
