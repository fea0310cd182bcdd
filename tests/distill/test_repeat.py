"""What is recorded and played does what calls do. A GPU records kernels; here a tape records torch's."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_trial import TASK
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from raysys.distill import repeat as repeated
from raysys.distill.engine import ALONE, Generation
from raysys.distill.ideal_options import IdealOptions
from raysys.distill.packed_generation import generate_together
from raysys.distill.repeat import LEAST, repeat
from raysys.models.classifiers import build_classifier
from raysys.models.generators import Generator

SMALL: dict[str, Any] = {"batch_size": 20, "g_width": 8, "latent_dim": 8}


@pytest.fixture(autouse=True)
def a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "_unable", set())


class Tape(TorchDispatchMode):
    """Records torch's operations, and plays them on the same tensors, as a CUDA graph does with kernels.

    Like a GPU that records, it changes no tensor yet, lets nobody look at one, and takes none from the host.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plays = 0
        self._recorded: list[tuple[Any, Sequence[Any], Mapping[str, Any], Any]] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def record(self, work: Callable[[], object]) -> Callable[[], object]:
        """A `Recorder`, for one recording at a time."""
        self._recorded = []
        try:
            with self:
                work()
        finally:
            for tensor, before in reversed(self._before):
                tensor.copy_(before)
            self._before = []
        return self.play

    def play(self) -> None:
        self.plays += 1
        for func, args, kwargs, outputs in self._recorded:
            again = func(*args, **kwargs)
            for one, new, told in zip(listed(outputs), listed(again), func._schema.returns, strict=True):
                if isinstance(one, Tensor) and not told.alias_info:  # else a view, or written into already
                    one.copy_(new)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("nobody looks while it records")
        if func is torch.ops.aten.lift_fresh.default:  # torch.tensor: here on the device that computes
            raise RuntimeError("no number of Python's becomes a tensor while it records")
        args, kwargs = tree_map(bare, (args, kwargs or {}))
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        before = [one.clone() for one in given]
        outputs = func(*args, **kwargs)
        self._before += [pair for pair in zip(given, before, strict=True) if not torch.equal(*pair)]
        self._recorded.append((func, args, kwargs, tree_map(bare, outputs)))
        return outputs


def bare(one: Any) -> Any:
    """A tensor's memory, without what autograd knows of it."""
    return one.data if isinstance(one, Tensor) else one


def listed(outputs: Any) -> Sequence[Any]:
    """What an operation returned, one by one as its schema tells it."""
    return outputs if isinstance(outputs, tuple) else [] if outputs is None else [outputs]


def a_generation(number: int, steps: int, student: str = "cnn3", **options: Any) -> Generation:
    own = IdealOptions(**SMALL, g_steps=steps, g_lr=1e-3 * (number + 1), **options)
    with torch.random.fork_rng():
        torch.manual_seed(number)
        generator = Generator(TASK.image_shape, 8, 8)
    network = build_classifier(student, TASK, seed=number)
    return Generation(generator, network, own, TASK, torch.Generator().manual_seed(number))


def look(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """A hook of a layer."""
    return output * float(torch.ones(()))


def look_back(layer: nn.Module, inputs: Any, output: Tensor) -> None:
    """A hook of a layer that looks when those behind it have their gradients."""
    output.register_hook(lambda gradient: gradient * float(torch.ones(())))


OPTIONS: list[dict[str, Any]] = [
    {},
    {"labels": "official"},
    {"entropy": "batch_marginal", "latent_lr": 0.01},
    {"precision": "float32", "reset_generator": False},
]


def made(works: Sequence[Generation], tape: Tape | None = None) -> list[Any]:
    """The batches and losses, the generators' and the draws' states afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        if tape:
            patch.setattr(repeated, "recorder", lambda device: tape.record)
        batches = generate_together(works) if len(works) > 1 else [ALONE.generate(works[0])]
    states = [[*work.generator.state_dict().values(), work.rng.get_state()] for work in works]
    return [*batches, *states]


def assert_same(ones: Sequence[Any], others: Sequence[Any]) -> None:
    for one, other in zip(tree_leaves(ones), tree_leaves(others), strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


@pytest.mark.parametrize("steps", [(7,), (9, 5, 5, 1)], ids=["alone", "in a pack"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_batch_whose_steps_were_played_is_the_same_batch(
    steps: Sequence[int], options: dict[str, Any]
) -> None:
    """In a pack a recording lasts for as long as the same works go on: 4 steps of 9, 4 of 5."""
    works = [a_generation(number, one, **options) for number, one in enumerate(steps)]
    called, tape = copy.deepcopy(works), Tape()
    assert_same(made(works, tape), made(called))
    assert tape.plays == (6 if len(steps) == 1 else 3 + 3)


@pytest.mark.parametrize(
    ("steps", "hook"),
    [((7,), look), ((7,), look_back), ((7, 6), look)],
    ids=["alone", "backward", "in a pack"],
)
def test_what_cannot_be_recorded_is_called_and_told_once(steps: Sequence[int], hook: Any) -> None:
    works = [a_generation(number, one) for number, one in enumerate(steps)]
    for work in works:
        work.generator.net[0].register_forward_hook(hook)
    called, tape = copy.deepcopy(works), Tape()
    with pytest.warns(RuntimeWarning, match="steps are not recorded: nobody looks while it records"):
        batches = made(works, tape)
    assert_same(batches, made(called))
    assert_same(made(works, tape), made(called))  # a second warning would be an error
    assert tape.plays == 0


@pytest.mark.parametrize("calls", [1, LEAST - 1])
def test_a_few_calls_are_not_recorded(calls: int) -> None:
    work, tape = a_generation(0, calls), Tape()
    assert_same(made([copy.deepcopy(work)], tape), made([work]))
    assert tape.plays == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of CUDA's")
@pytest.mark.parametrize("steps", [(30,), (30, 20, 20)], ids=["alone", "in a pack"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_gpu_plays_what_it_was_called_for(
    monkeypatch: pytest.MonkeyPatch, steps: Sequence[int], options: dict[str, Any]
) -> None:
    """Its kernels do not sum in one order: as close as two calls are to each other."""
    works = [a_generation(number, one, **options) for number, one in enumerate(steps)]
    works = [replace(work, generator=work.generator.cuda(), student=work.student.cuda()) for work in works]
    called = copy.deepcopy(works)
    played = made(works)
    monkeypatch.setattr(repeated, "recorder", lambda device: None)
    for one, other in zip(played[: len(steps)], made(called), strict=False):
        assert one[1] == pytest.approx(other[1], rel=0.02, abs=1e-3)


def test_rows_come_in_their_order() -> None:
    seen: list[tuple[float, float]] = []
    repeat(lambda *row: seen.append(tuple(map(float, row))), [torch.arange(5.0), torch.arange(5.0, 10.0)])
    assert seen == [(at, at + 5) for at in range(5)]
