"""What `raysys.oracle.Oracle` promises, held against each way to a teacher."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import uvicorn
from tiny_trial import TASK

from raysys.errors import LeaseError, LedgerError, UsageError
from raysys.models.classifiers import build_classifier
from raysys.oracle import BudgetExhausted, Images, Oracle, Response
from raysys.records import Account
from raysys.space.schema import HttpSpec, Recipe, TeacherSpec
from raysys.teacher.counter_file import QueryCounter
from raysys.teacher.http import HttpSource
from raysys.teacher.journal import read_accounts
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.local import TorchTeacher
from raysys.teacher.server import build_app, listen, url_of
from raysys.teacher.service import Caps, LocalOracle
from raysys.teacher.setup import TeacherSetup

CAPS = Caps(queries=30, executed=40)


@dataclass(frozen=True)
class Way:
    """A running teacher: `oracle(uid, budget)` asks it, `close(uid)` ends an account."""

    oracle: Callable[..., Oracle]
    close: Callable[[str], None]
    response: str
    ledger: Path

    def accounts(self) -> dict[str, Account]:
        """What the journal tells."""
        return read_accounts(self.ledger)


def images(n: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (n, *TASK.image_shape)).astype(np.uint8)


def module() -> torch.nn.Module:
    return build_classifier("mlp", TASK, seed=7)


@contextmanager
def in_this_process(setup: TeacherSetup) -> Iterator[Way]:
    journal, backend = setup.journal(), setup.source.backend("cpu")
    service = setup.service(backend, journal)
    yield Way(
        lambda uid, budget: LocalOracle(service, uid, budget),
        service.close,
        setup.response,
        setup.ledger,
    )
    backend.close()
    journal.close()


@contextmanager
def on_ray(setup: TeacherSetup) -> Iterator[Way]:
    import ray  # slow, and only the slow cases need it

    from raysys.teacher.actor import ActorOracle, answer, start_teacher

    handle = start_teacher(setup)
    yield Way(
        lambda uid, budget: ActorOracle(handle, uid, budget),
        lambda uid: answer(handle.close.remote(uid)),
        setup.response,
        setup.ledger,
    )
    ray.kill(handle)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The URL of a server of the teacher."""
    counter = QueryCounter(folder / "counter")
    app = build_app("digits", TASK, TorchTeacher(module()).answer, counter, max_rows=8)
    uvicorn_server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_config=None))
    listener = listen("127.0.0.1", 0, has_key=False)
    thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield url_of(listener)
    finally:
        uvicorn_server.should_exit = True
        thread.join()
        counter.close()


WAYS = ["local", "http", pytest.param("actor", marks=pytest.mark.slow)]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, response: str, tmp_path: Path) -> Iterator[Way]:
    ledger = tmp_path / "ledger"
    if request.param == "http":
        with server(tmp_path) as url:
            source = HttpSource(
                HttpSpec(url=url, model="digits", max_rows=3, retries=0), TASK, response, "run"
            )
            with in_this_process(TeacherSetup(source, TASK, response, ledger, caps=CAPS)) as running:
                yield running
        return
    kept = KeptTeacher(str(tmp_path), TeacherSpec(architecture="mlp", recipe=Recipe(epochs=1)), TASK)
    kept.keep(module())
    if request.param == "actor":
        request.getfixturevalue("local_ray")
    running_on = on_ray if request.param == "actor" else in_this_process
    with running_on(TeacherSetup(kept, TASK, response, ledger, caps=CAPS)) as running:
        yield running


@pytest.fixture(params=["hard", "soft"])
def response(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def same(first: Response | BudgetExhausted, second: Response | BudgetExhausted) -> bool:
    assert isinstance(first, Response)
    assert isinstance(second, Response)
    return np.array_equal(first.labels, second.labels) and (
        first.probabilities is second.probabilities is None
        or np.array_equal(first.probabilities, second.probabilities)  # type: ignore[arg-type]
    )


def test_it_answers_like_the_teacher_and_tells_no_more_than_it_should(way: Way) -> None:
    reply, expected = way.oracle("a", 20).ask(images(7), 0), TorchTeacher(module()).answer(images(7))
    assert isinstance(reply, Response)
    assert reply.labels.dtype == np.int64
    assert reply.labels.tolist() == expected.labels.tolist()
    if way.response == "hard":
        assert reply.probabilities is None
    else:
        assert reply.probabilities is not None
        assert reply.probabilities.dtype == np.float32
        np.testing.assert_allclose(reply.probabilities, expected.probabilities, rtol=1e-4)
    assert way.accounts() == {"a": Account("a", 7, 7, 20)}


def test_a_repeat_is_the_recorded_answer_and_is_charged_once(way: Way) -> None:
    oracle = way.oracle("a", 7)
    first = oracle.ask(images(7), 0)
    assert same(oracle.ask(images(7), 0), first)
    assert same(way.oracle("a", 7).ask(images(7), 0), first)
    assert way.accounts() == {"a": Account("a", 7, 7, 7)}


def test_a_request_is_answered_whole_or_not_at_all(way: Way) -> None:
    oracle = way.oracle("a", 7)
    assert oracle.ask(images(8), 0) == BudgetExhausted(7)
    assert isinstance(oracle.ask(images(5), 0), Response)
    assert oracle.ask(images(3, seed=1), 1) == BudgetExhausted(2)
    assert isinstance(oracle.ask(images(2, seed=1), 1), Response)
    assert oracle.ask(images(1, seed=2), 2) == BudgetExhausted(0)
    assert way.accounts() == {"a": Account("a", 7, 7, 7)}


def test_the_runs_cap_binds_all_trials(way: Way) -> None:
    assert isinstance(way.oracle("a", 25).ask(images(25), 0), Response)
    assert way.oracle("b", 25).ask(images(6), 0) == BudgetExhausted(5)
    assert isinstance(way.oracle("b", 25).ask(images(5), 0), Response)


def test_the_same_number_with_other_images_is_a_bug(way: Way) -> None:
    oracle = way.oracle("a", 20)
    oracle.ask(images(3), 0)
    with pytest.raises(LedgerError, match="a/0 came again with other images"):
        oracle.ask(images(3, seed=1), 0)
    with pytest.raises(LedgerError, match="opened with a budget of 20 images, not 21"):
        way.oracle("a", 21)
    assert way.accounts()["a"].executed == 3


def test_bad_images_are_refused_at_the_door_and_cost_nothing(way: Way) -> None:
    oracle = way.oracle("a", 20)
    good = images(2)
    for bad in (good.astype(np.float32), good[0], images(0), good[:, :, :7], good.repeat(3, axis=1)):
        with pytest.raises(UsageError, match=r"takes uint8 images \(n, c, h, w\)[\s\S]*nothing was charged"):
            oracle.ask(bad, 0)
    assert way.accounts()["a"] == Account("a", 0, 0, 20)
    assert isinstance(oracle.ask(good, 0), Response)


def test_an_ended_trial_and_an_older_attempt_get_nothing(way: Way) -> None:
    old = way.oracle("a", 20)
    old.ask(images(3), 0)
    new = way.oracle("a", 20)
    assert (old.epoch, new.epoch) == (0, 1)
    for sequence in (0, 1):
        with pytest.raises(LeaseError, match="attempt 0 of a gets no more answers"):
            old.ask(images(3), sequence)
    way.close("a")
    with pytest.raises(LeaseError, match="the trial was ended"):
        new.ask(images(3), 0)
    assert isinstance(way.oracle("a", 20).ask(images(3), 0), Response)
    assert way.accounts() == {"a": Account("a", 3, 3, 20)}
