"""Ctrl-C and SIGTERM: once ends a run softly, twice at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

SOFT = (signal.SIGINT, signal.SIGTERM)

END_NOW = signal.SIGUSR2  # SIGUSR1 is Tune's
"""What `raysys stop --now` comes down to: as a second SIGTERM, also where there was no first one."""

LOOK_S = 0.02
"""How often `hurried` looks."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends what is under way as Ctrl-C does."""


@contextmanager
def terminable() -> Iterator[None]:
    """While entered, SIGTERM and END_NOW raise `Terminated`, so that what is open is closed."""
    before = {number: signal.signal(number, _terminated) for number in (signal.SIGTERM, END_NOW)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """While entered, SIGTERM waits; processes that are started meanwhile never get it.

    A whole process group or container is often sent SIGTERM at once: a Ray that ends before its driver
    takes the trials' ends with it. The handler stays as it was, whatever Ray installs.
    """
    before = signal.getsignal(signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


@contextmanager
def hurried() -> Iterator[None]:
    """While entered, a child that SIGTERM waits for, because it was started held back, is killed.

    Ray ends its processes one by one, and would give each of them a second. What these have started is not
    ended with them: see `swept`. Needs Linux's /proc.
    """
    left = threading.Event()

    def look() -> None:
        while not left.wait(LOOK_S):
            for child in _children(os.getpid()):
                with suppress(OSError):  # it has ended
                    if _sigterm(child, "ShdPnd"):
                        os.kill(child, signal.SIGKILL)

    looking = threading.Thread(target=look, name="hurry", daemon=True)
    looking.start()
    try:
        yield
    finally:
        left.set()
        looking.join()


@contextmanager
def swept() -> Iterator[None]:
    """When left, nothing runs any more that was started held back, nor what that had started in its turn.

    Ray leaves the agents of its raylet to themselves. They notice its end, and want to tell the GCS; where
    that has ended, too, they wait for it for a minute. Needs Linux's /proc.
    """
    found = _started_held_back()
    try:
        yield
    finally:
        for number in (signal.SIGSTOP, signal.SIGKILL):  # what has stopped starts nothing between the two
            found += _started_held_back()
            for handle in found:
                with suppress(OSError):  # it has ended
                    signal.pidfd_send_signal(handle, number)
        for handle in found:
            os.close(handle)


def _started_held_back() -> list[int]:
    """Handles of the children that were started held back and of all below them: a pid may be used again."""
    handles, pids = [], []
    for child in _children(os.getpid()):
        with suppress(OSError):
            pids += [child] if _sigterm(child, "SigBlk") else []
    for pid in pids:
        pids += _children(pid)  # which come later in this loop
        with suppress(OSError):
            handles.append(os.pidfd_open(pid))
    return handles


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        files = list(Path(f"/proc/{pid}/task").glob("*/children"))
        return [int(child) for file in files for child in file.read_text().split()]
    return []


def _sigterm(pid: int, field: str) -> bool:
    """Whether SIGTERM waits for a process (`ShdPnd`), or is blocked in it (`SigBlk`): proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    signals = next(line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return bool(int(signals, 16) >> (signal.SIGTERM - 1) & 1)


def exit_code(end: KeyboardInterrupt) -> int:
    """128 + the signal that ended the process, as a shell says it."""
    return 128 + (signal.SIGTERM if isinstance(end, Terminated) else signal.SIGINT)


class SoftStop:
    """While entered, the first SIGINT or SIGTERM only sets `signal`; the second one ends at once.

    Ray Tune may keep the exception of the second one to itself: `signal` is what counts.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before = {}  # type: ignore[var-annotated]

    def __enter__(self) -> Self:
        for number in SOFT:
            self._before[number] = signal.signal(number, self._on_signal)
        self._before[END_NOW] = signal.signal(END_NOW, self._on_end_now)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """128 + the signal, as a shell says it."""
        return 128 + self.signal if self.signal else 0

    def check(self) -> None:
        """Between two steps that lose nothing: end at once if a signal came, as the second one would."""
        if self.signal:
            raise Terminated if self.signal is signal.SIGTERM else KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _terminated)
        # Not through sys.stderr: the signal may have come in the middle of a write to it.
        os.write(2, b"\nstopping: every trial's state is on disk; the same signal again ends at once\n")

    def _on_end_now(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.SIGTERM
        raise Terminated


def _terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated
