"""A small problem that the tests of the teacher's door and of distillation share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from raysys.distill.engine import ALONE, Engine
from raysys.distill.method import Method, Setting
from raysys.distill.options import method_options, parse_options
from raysys.distill.registry import build_method
from raysys.distill.stopwatch import Stopwatch
from raysys.distill.trial import KeptRequests, Outcome, run_trial
from raysys.oracle import BudgetExhausted, Images, Oracle, Response
from raysys.records import Account, EvalSet, Report, Task, TrialConfig
from raysys.teacher.backend import Backend, Meter
from raysys.teacher.journal import open_journal, read_accounts
from raysys.teacher.local import TorchTeacher
from raysys.teacher.service import Caps, LocalOracle, TeacherService

M = TypeVar("M", bound=Method)

TASK = Task("digits", (1, 8, 8), 10, False)

STUDENT: dict[str, Any] = {"query_budget": 50, "passes": 1, "final_passes": 2, "train_batch": 16}

OPTIONS: dict[str, Any] = {
    **STUDENT,
    "batch_size": 20,
    "epochs": 3,
    "g_steps": 2,
    "g_width": 8,
    "latent_dim": 8,
}
"""Those of `ideal`."""


DFME: dict[str, Any] = {
    "method": "dfme",
    "response": "soft",
    "query_budget": 88,
    "batch": 4,
    "g_width": 8,
    "latent_dim": 8,
}
"""A small trial of that method; others add to it."""


def pictures(n: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (n, *TASK.image_shape)).astype(np.uint8)


def linear(task: Task = TASK, seed: int = 7) -> nn.Module:
    """A linear network that has an opinion of its own on any noise."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(task.image_shape)), task.num_classes))
    with torch.no_grad():
        weight = torch.randn(net[1].weight.shape, generator=torch.Generator().manual_seed(seed))
        net[1].weight.copy_(weight)
        net[1].bias.copy_(-weight.sum(dim=1) / 2)
    return net


class Counts:
    """A meter that notes what is sent."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def sent(self, start: int, stop: int) -> None:
        self.spans.append((start, stop))

    def unsent(self, start: int, stop: int) -> None:
        raise AssertionError("a network in this process is always reached")


class CountingTeacher:
    """A real teacher; `asked` holds the images of each forward."""

    lanes = 1
    max_rows = 1024

    def __init__(self) -> None:
        self._teacher = TorchTeacher(linear())
        self.asked: list[Images] = []

    @property
    def forwards(self) -> list[int]:
        return [len(images) for images in self.asked]

    def predict(self, images: Images, meter: Meter) -> Response:
        self.asked.append(images)
        return self._teacher.predict(images, meter)

    def close(self) -> None:
        pass


class Door:
    """A teacher's service over a journal, that can be left and entered again like a new process."""

    def __init__(
        self,
        folder: Path,
        response: str = "hard",
        max_queries: int | None = None,
        max_executed: int | None = None,
        teacher: Backend | None = None,
    ) -> None:
        self.folder = folder
        self.teacher = CountingTeacher()
        self._journal = open_journal(folder)
        caps = Caps(max_queries, max_executed)
        self.service = TeacherService(teacher or self.teacher, TASK, response, self._journal, caps)

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    def account(self, uid: str = "u00000") -> Account:
        """What a reader of the journal sees."""
        return read_accounts(self.folder)[uid]


class MemoryKeeper:
    """Keeps every state; `fail_at` counts saves and, `after` or before keeping it, breaks one of them."""

    def __init__(self, state: bytes | None = None, fail_at: int | None = None, after: bool = False) -> None:
        self.states = [] if state is None else [state]
        self.requests: dict[int, Images] = {}
        self.pairs: dict[int, tuple[Images, Response]] = {}
        self.shown: list[tuple[int, Images]] = []
        self._fail_at = fail_at
        self._after = after
        self._saves = 0

    def load(self) -> bytes | None:
        return self.states[-1] if self.states else None

    def save(self, state: bytes, sequence: int) -> None:
        fails = self._saves == self._fail_at
        self._saves += 1
        if not fails or self._after:
            self.states.append(state)
            self.requests.clear()
        if fails:
            raise InterruptedError("pulled the plug")

    def keep_request(self, sequence: int, images: Images) -> None:
        self.requests[sequence] = images.copy()

    def kept_request(self, sequence: int) -> Images | None:
        return self.requests.get(sequence)

    def keep_pairs(self, first: int, images: Images, response: Response) -> None:
        self.pairs[first] = (images.copy(), response)

    def show(self, step: int, samples: Images) -> None:
        self.shown.append((step, samples))


class CutOff:
    """Breaks the connection at call number `at`, before or after the oracle has worked; counts the calls."""

    def __init__(self, at: int | None = None, after: bool = False) -> None:
        self._at = at
        self._after = after
        self.calls = 0

    def __call__(self, oracle: Oracle) -> "CutOff":
        self._oracle = oracle
        self.epoch = oracle.epoch
        return self

    def ask(self, images: Images, sequence: int) -> Response | BudgetExhausted:
        breaks = self.calls == self._at
        self.calls += 1
        if breaks and not self._after:
            raise InterruptedError("cut off")
        reply = self._oracle.ask(images, sequence)
        if breaks:
            raise InterruptedError("cut off")
        return reply


def config(
    seed: int = 0, response: str = "hard", student: str = "mlp", method: str = "ideal", **options: Any
) -> TrialConfig:
    small = OPTIONS if method == "ideal" else STUDENT
    complete = parse_options(method, {**small, **options}).model_dump()
    return TrialConfig("u00000", method, response, student, seed, complete)


def real_images(what: TrialConfig) -> Images | None:
    """The training images of this problem, where the method declares that it needs them."""
    return pictures(70, seed=5) if method_options(what.method).needs_images else None


def held_out(n: int = 20) -> EvalSet:
    images = pictures(n, seed=99)
    labels = TorchTeacher(linear()).answer(images).labels
    return EvalSet(images, np.roll(labels, 1), labels)


def train(
    door: Door,
    what: TrialConfig,
    keeper: MemoryKeeper | None = None,
    wrap: Callable[[Oracle], Oracle] = lambda oracle: oracle,
    images: Images | None = None,
    engine: Engine = ALONE,
) -> Outcome:
    """A trial at the door; `wrap` may stand between them."""
    oracle = wrap(LocalOracle(door.service, what.uid, int(what.options["query_budget"])))
    seen: list[Report] = []

    def on_reports(reports: Sequence[Report]) -> None:
        seen.extend(reports)

    kept = keeper or MemoryKeeper()
    outcome = run_trial(
        what, TASK, oracle, held_out(), kept, on_reports, lambda: 0.0, images=images, engine=engine
    )
    assert seen == list(outcome.reports), "each report is told once in a row"
    return outcome


@contextmanager
def at_its_end(
    folder: Path, what: TrialConfig, kind: type[M], images: Images | None = None
) -> Iterator[tuple[M, int]]:
    """The method of a trial that has come to its end, and what it was charged."""
    with Door(folder, what.response) as door:
        oracle = LocalOracle(door.service, what.uid, int(what.options["query_budget"]))
        requests = KeptRequests(oracle, MemoryKeeper(), Stopwatch(lambda: 0.0))
        method = build_method(Setting(what, TASK, requests, images=images))
        assert isinstance(method, kind)
        for _ in method.run():
            pass
        yield method, door.account().charged


def timeless(reports: Sequence[Report]) -> list[Report]:
    """The reports without what an interruption may change."""
    return [replace(report, seconds=0.0, seconds_by={}, attempt=0) for report in reports]
