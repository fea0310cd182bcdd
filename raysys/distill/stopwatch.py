"""Where the time of a trial goes: which of its parts is under way, and how long each took so far."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

from raysys.distill.engine import Engine, Generation, Pass
from raysys.records import PARTS, REST


class Stopwatch:
    """Counts each moment for exactly one of `records.PARTS`: the innermost one, and `rest` outside of all.

    `clock` tells seconds; `before` is what the parts took before it started. It belongs to one thread.
    """

    def __init__(self, clock: Callable[[], float], before: Mapping[str, float] | None = None) -> None:
        self._clock = clock
        self._seconds = dict.fromkeys(PARTS, 0.0) | dict(before or {})
        self._part = REST
        self._since = clock()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count for `part` what is done within."""
        outer = self._turn_to(part)
        try:
            yield
        finally:
            self._turn_to(outer)

    def read(self) -> dict[str, float]:
        """Seconds so far by part; together they are all that passed."""
        self._turn_to(self._part)
        return dict(self._seconds)

    def _turn_to(self, part: str) -> str:
        """Count for `part` from now on; returns what was counted for until now."""
        was, now = self._part, self._clock()
        self._seconds[was] += now - self._since
        self._part, self._since = part, now
        return was


class Timed:
    """An `Engine` that is watched: `generate` and `train` are what it works, or is waited for."""

    def __init__(self, engine: Engine, watch: Stopwatch) -> None:
        self._engine = engine
        self._watch = watch

    def generate(self, work: Generation) -> tuple[Tensor, float]:
        """See `Engine.generate`."""
        with self._watch("generate"):
            return self._engine.generate(work)

    def run_pass(self, work: Pass) -> float:
        """See `Engine.run_pass`."""
        with self._watch("train"):
            return self._engine.run_pass(work)
