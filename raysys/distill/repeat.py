"""A step that is done many times: on a GPU recorded once, as a CUDA graph, and then played."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

LEAST = 4
"""Fewer calls are not worth a recording."""

Recorder = Callable[[Callable[[], object]], Callable[[], object]]
"""Takes what is to be done, and returns what does it again; need not do it itself."""

_unable: set[torch.device] = set()
"""Where a recording failed in this process. Each further try would wait for the GPU, and some versions of
torch never free the memory of one that fails."""


def repeat(step: Callable[..., object], inputs: Sequence[Tensor]) -> None:
    """Call `step` with the first rows of `inputs`, then with the second ones, to the last.

    `inputs` are (n, ...) each, all on one device. On a GPU, whose networks here are so small that launches
    are what they cost, one call is recorded and played for all that follow. So the numbers that a call takes
    from Python must be those of every call, it may look at no tensor's value, and calls hand on to each other
    only what they write into tensors that were there before. Where recording fails it warns, and from then on
    this process goes call by call; the call that failed has changed no tensor.
    """
    device = inputs[0].device
    record = recorder(device)
    if record is None or device in _unable or len(inputs[0]) < LEAST:
        for row in zip(*inputs, strict=True):
            step(*row)
        return
    with _aside(device):
        held = [one[0].clone() for one in inputs]
        step(*held)  # what a library sets up in its first call cannot be recorded
        try:
            play = record(lambda: step(*held))
        except RuntimeError as error:
            _unable.add(device)
            warnings.warn(f"steps are not recorded: {error}", RuntimeWarning, 2)
            play = lambda: step(*held)  # noqa: E731
        for number in range(1, len(inputs[0])):
            for tensor, one in zip(held, inputs, strict=True):
                tensor.copy_(one[number])
            play()


def recorder(device: torch.device) -> Recorder | None:
    """What records there; None where calls cost little beside what they do."""
    return _record if device.type == "cuda" else None


def _record(work: Callable[[], object]) -> Callable[[], object]:
    graph = torch.cuda.CUDAGraph()
    # Other threads of this process, trials of a pack, may use the GPU meanwhile.
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
        work()
    return graph.replay


@contextmanager
def _aside(device: torch.device) -> Iterator[None]:
    """Off a GPU's default stream, which cannot be recorded; in its order nothing changes."""
    if device.type != "cuda":
        yield
        return
    main, side = torch.cuda.current_stream(device), _stream(device)
    side.wait_stream(main)
    try:
        with torch.cuda.stream(side):
            yield
    finally:  # also after an error: what is freed then is given to others in the order of `main`
        main.wait_stream(side)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
