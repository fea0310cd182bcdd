"""One driver a run, on any filesystem, whoever dies, and however.

On this machine the kernel sees to it: a file lock goes when its owner dies. For the other machines that
reach a run's folder or URI, its driver shows a sign of life every few seconds. A driver that finds another
one's waits until it has been silent for long enough, by its own watch: clocks may differ.
"""

import fcntl
import os
import secrets
import shlex
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from pyarrow.fs import LocalFileSystem

from raysys.cluster.signals import END_NOW
from raysys.errors import ResumeError, StorageError
from raysys.store.driver import (
    BEAT_S,
    SILENCE_S,
    Driver,
    forget_driver,
    read_driver,
    read_stop,
    write_record,
)
from raysys.store.layout import RunLayout

LOOK_S = 1.0
"""Seconds between two looks for a stop request or another driver."""

LONG_DEAD_S = 600.0
"""Silence after which nobody is waited for: clocks do not differ by that much."""


@contextmanager
def run_lock(layout: RunLayout, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the run's lock, show signs of life, and end when asked to (as by SIGTERM; twice for `now`).

    Raises ResumeError, naming the owner, while another driver works on the run; StorageError.
    """
    with _kernel_lock(layout):
        _wait_for_silence(layout, say)
        me = Driver(
            host=socket.gethostname(), pid=os.getpid(), token=secrets.token_hex(8), beat=datetime.now(UTC)
        )
        forget_driver(layout)  # a wish that its driver did not live to see
        write_record(layout, me)
        if (other := read_driver(layout)) != me:
            raise _taken(layout, other)  # two drivers found it silent at once; the later one has it
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(layout, me, ended), name="run lock", daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()
            with suppress(StorageError):
                forget_driver(layout)


@contextmanager
def _kernel_lock(layout: RunLayout) -> Iterator[None]:
    """The lock among the processes of this machine, and of others where the file system passes it on."""
    if not isinstance(layout.filesystem, LocalFileSystem):
        yield
        return
    try:
        opened = layout.lock.open("a")
    except OSError as failure:
        raise StorageError(f"cannot open {layout.lock}", str(failure.strerror or failure)) from failure
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(layout, read_driver(layout)) from None
        except OSError:
            pass  # locks do not work on every file system: signs of life do
        yield


def _taken(layout: RunLayout, owner: Driver | None) -> ResumeError:
    return ResumeError(
        f"another process works on {layout.location}",
        f"its owner is {owner}" if owner else "it has just begun, or is about to end",
        f"wait, or end it: raysys stop {shlex.quote(layout.location)}",
    )


def _wait_for_silence(layout: RunLayout, say: Callable[[str], None]) -> None:
    """Return when no other driver is alive. Raises ResumeError as soon as one shows a sign of life."""
    first = read_driver(layout)
    if first is None or first.gone or first.silent_for().total_seconds() > LONG_DEAD_S:
        return
    say(f"{first} worked on this run: waiting up to {SILENCE_S:.0f} s for a sign of life")
    deadline = time.monotonic() + SILENCE_S
    while time.monotonic() < deadline:
        time.sleep(LOOK_S)
        now = read_driver(layout)
        if now is None:
            return
        if now != first:
            raise _taken(layout, now)


def _watch(layout: RunLayout, me: Driver, ended: threading.Event) -> None:
    """Show signs of life until `ended`; pass on what `raysys stop` asks."""
    beat, heard = time.monotonic(), None
    while not ended.wait(LOOK_S):
        with suppress(StorageError):  # a storage that is away for a while: the next look comes soon
            wish = read_stop(layout)
            if wish is not None and wish.token == me.token and wish != heard:
                heard = wish
                os.write(2, f"\nraysys stop: {wish.asked_by} asks this run to end\n".encode())
                os.kill(os.getpid(), END_NOW if wish.now else signal.SIGTERM)
            if time.monotonic() - beat >= BEAT_S:
                other = read_driver(layout)
                if other is not None and other.token != me.token:
                    os.write(2, f"\nerror: {other} has taken the run {layout.location} over\n".encode())
                    os._exit(ResumeError.exit_code)  # not another byte: what is written now is the other's
                write_record(layout, me.model_copy(update={"beat": datetime.now(UTC)}))
                beat = time.monotonic()
