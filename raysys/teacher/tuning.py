"""How a network answers fastest on this machine, tried for a moment when it is opened: precision, batch size.

Half precision alone would change labels: of structured noise, a few in a thousand. So it is taken for hard
answers only, together with the margin below which an image is computed again in float32.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raysys.oracle import Images
from raysys.teacher.hard import Half, HardTeacher, Network, margins
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.local import MAX_ROWS

HALF = {"cpu": torch.bfloat16, "cuda": torch.float16}
"""float16 is eight times as exact, but slow on CPUs; what overflows is not above any margin."""
FIRST_ROWS = {"cpu": 32, "cuda": MAX_ROWS}
"""Images of the forwards that are tried first; on a CPU few, so that a slow network is soon through."""
FORWARDS = 6
LIMIT_S = 1.0
"""How long a precision is tried; a forward that was begun is ended."""
LEAST_ROWS = 64
"""Fewer images do not tell how exact half precision is."""
GAIN = 1.3
"""Times the speed of float32, images that are computed again included, for which half precision is taken."""
SAFETY = 2.0
"""Times the most that half precision moved two logits against each other on the sample."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HardSource:
    """A `Source` of the kept network's hard answers, tuned on what `sample` gives; no answer to it is told.

    `sample` is a function, since a source is to be small: Ray may lose a large one before an actor's restart.
    """

    kept: KeptTeacher
    sample: Callable[[], Images]

    def backend(self, device: str) -> HardTeacher:
        """See `Source.backend`."""
        spec = self.kept.spec
        exact = spec.precision == "float32" or spec.program is not None  # a program has its types inside
        full = Network(self.kept.open(), device, torch.float32, FIRST_ROWS[device])
        return tuned(full, None if exact else HALF[device], self.sample())

    def sha256(self) -> str:
        """See `Source.sha256`."""
        return self.kept.sha256()


def tuned(full: Network, dtype: torch.dtype | None, sample: Images) -> HardTeacher:
    """The teacher that gives the answers of `full` in the fastest way found, perhaps by way of `dtype`.

    `full` computes in float32; how many images a forward has is changed.
    """
    logits, seconds = _tried(full, sample)
    half = None
    if dtype is not None:
        network = full.reduced(dtype)
        reduced, half_seconds = _tried(network, sample)
        both = min(len(logits), len(reduced))
        margin = safe_margin(logits[:both], reduced[:both])
        again = float((~(margins(reduced) >= margin)).float().mean())
        if both >= LEAST_ROWS and seconds >= GAIN * (half_seconds + again * seconds):
            half = Half(network, margin)
            _grow(network, sample, half_seconds)
    _grow(full, sample, seconds)
    _log.info("the teacher answers in %s", _described(full, half))
    return HardTeacher(full, half)


def safe_margin(full: Tensor, reduced: Tensor) -> float:
    """A margin in `reduced` logits that is wide enough for the label to be that of `full`; NaN if none is.

    On the sample itself it is exact: a label changes only if two logits move against each other by more.
    """
    moved = reduced - full
    return SAFETY * float((moved.amax(dim=1) - moved.amin(dim=1)).max())


def _tried(network: Network, sample: Images) -> tuple[Tensor, float]:
    """Logits of the first images, and the seconds an image of the best forward."""
    # What else runs on this machine's cores does not count; of a GPU's work only the clock knows.
    clock = time.thread_time if network.device == "cpu" else time.perf_counter
    logits: list[Tensor] = []
    best, end = float("inf"), clock() + LIMIT_S
    while len(logits) < FORWARDS and clock() < end:
        images = _part(sample, len(logits), network.rows)
        began = clock()
        logits.append(network(images))
        best = min(best, (clock() - began) / len(images))
    return torch.cat(logits), best


def _grow(network: Network, sample: Images, seconds: float) -> None:
    """Double the images of a forward while that gains a tenth, and is soon tried."""
    while 2 * network.rows <= MAX_ROWS and 4 * network.rows * seconds < LIMIT_S / 4:
        before = network.rows
        network.rows *= 2
        _, found = _tried(network, sample)
        if found > 0.9 * seconds:
            network.rows = before
            return
        seconds = found


def _part(sample: Images, number: int, rows: int) -> Images:
    """`rows` images of the sample, over and over."""
    return sample[np.arange(number * rows, (number + 1) * rows) % len(sample)]


def _described(full: Network, half: Half | None) -> str:
    told = f"float32, {full.rows} images a forward"
    if half is None:
        return told
    dtype = str(half.network.dtype).removeprefix("torch.")
    return f"{dtype}, {half.network.rows} images a forward; margins below {half.margin:.2g} in {told}"
