"""Ctrl-C and SIGTERM: once ends a run softly, twice at once."""

import os
import signal
from types import FrameType, TracebackType
from typing import Self

SOFT = (signal.SIGINT, signal.SIGTERM)


class SoftStop:
    """While entered, the first SIGINT or SIGTERM only sets `signal`; the second one has its old effect.

    Enter it after `ray.init`, which installs a SIGTERM handler of its own.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before = {}  # type: ignore[var-annotated]

    def __enter__(self) -> Self:
        for number in SOFT:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @property
    def exit_code(self) -> int:
        """128 + the signal, as a shell says it."""
        return 128 + self.signal if self.signal else 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()
        # Not through sys.stderr: the signal may have come in the middle of a write to it.
        os.write(2, b"\nstopping: every trial's state is on disk; the same signal again ends at once\n")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
