"""The ledger's durable log: one checksummed JSON line a group of charges, appended and fsynced.

A line is `crc32 SP json LF`; a group is one line, so that it is there as a whole or not at all. Replay
rebuilds the ledger; a torn tail (the process died while it wrote) is dropped, its requests are asked
again; a damaged line before others is an error, never skipped.
"""

import base64
import contextlib
import fcntl
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from raysys.errors import CorruptRunError, StorageError
from raysys.oracle import Response
from raysys.records import Account
from raysys.teacher.ledger import Charge, Ledger, RequestKey

FILE = "journal.jsonl"
LOCK_PATIENCE_S = 30.0
"""How long to wait for a dying owner to let go of the journal."""

Event = dict[str, Any]


class Journal:
    """Appends events for one writer at a time; the file is locked while it is open.

    Raises StorageError when the file cannot be made, or when another process keeps it locked for longer
    than `patience_s`.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.time, patience_s: float = LOCK_PATIENCE_S
    ) -> None:
        self._path = folder / FILE
        self._clock = clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b", buffering=0)
        except OSError as error:
            raise _storage_error(self._path, error) from error
        try:
            _lock(self._file, self._path, patience_s)
        except StorageError:
            self._file.close()
            raise
        self._end = 0

    def replay(self, ledger: Ledger) -> int:
        """Bring `ledger` up to date and cut off a torn tail; returns the bytes cut off. Call once, first."""
        with self._path.open("rb") as file:
            for event, end in _events(file, self._path):
                apply(ledger, event)
                self._end = end
        size = os.fstat(self._file.fileno()).st_size
        if size > self._end:
            self._file.truncate(self._end)
        return size - self._end

    def append_account(self, uid: str, budget: int) -> None:
        """Record that an account was opened. Raises StorageError."""
        self._append({"open": uid, "budget": budget, "time": self._clock()})

    def append_charges(self, charges: Sequence[Charge]) -> None:
        """Record answered requests in one durable write: all of them, or none. Raises StorageError."""
        self._append({"charges": [_charge_event(charge) for charge in charges], "time": self._clock()})

    def close(self) -> None:
        """Close the file and give back the lock."""
        self._file.close()

    def _append(self, event: Event) -> None:
        data = _encode(event)
        try:
            # What a failed write left behind goes first, or the next record would make it a torn middle.
            self._file.truncate(self._end)
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise _storage_error(self._path, error) from error
        self._end += len(data)


def read_ledger(folder: Path) -> Ledger:
    """The ledger as the journal in `folder` tells it, also while it is being written."""
    ledger = Ledger()
    path = folder / FILE
    if path.exists():
        with path.open("rb") as file:
            for event, _ in _events(file, path):
                apply(ledger, event)
    return ledger


def read_accounts(folder: Path) -> dict[str, Account]:
    """The accounts of the journal in `folder`; none where nothing was asked yet."""
    return read_ledger(folder).accounts()


def apply(ledger: Ledger, event: Event) -> None:
    """Apply one event to the ledger. Raises CorruptRunError for one that this raysys does not know."""
    match event:
        case {"open": uid, "budget": budget}:
            if not ledger.is_open(uid, budget):
                ledger.open(uid, budget)
        case {"charges": charges}:
            for charge in charges:
                ledger.replay(_charge(charge))
        case _:
            raise CorruptRunError(
                f"the ledger holds an unknown record: {', '.join(event)}",
                "another version of raysys wrote it",
                "use the raysys that wrote the run",
            )


def _events(file: BinaryIO, path: Path) -> Iterator[tuple[Event, int]]:
    """Each good event with the offset behind it. Raises CorruptRunError if one is damaged before the end."""
    end = 0
    torn: int | None = None
    for line in file:
        if torn is not None:
            raise CorruptRunError(
                f"the ledger is damaged: {path}, byte {torn}",
                "a record in the middle does not match its checksum",
                "restore the file from a backup; charges after it cannot be trusted",
            )
        if not line.endswith(b"\n"):
            return  # torn, or being written just now: another read would find the line's rest
        event = _decode(line)
        if event is None:
            torn = end
            continue
        end += len(line)
        yield event, end


def _encode(event: Event) -> bytes:
    body = json.dumps(event, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(body), body)


def _decode(line: bytes) -> Event | None:
    checksum, _, rest = line.partition(b" ")
    body = rest[:-1]
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    event: Event = json.loads(body)
    return event


def _charge_event(charge: Charge) -> Event:
    response = charge.response
    event: Event = {
        "uid": charge.key.uid,
        "sequence": charge.key.sequence,
        "digest": charge.key.digest,
        "images": charge.key.images,
        "executed": charge.executed,
        "labels": _pack(response.labels.astype(np.uint16)),
    }
    if response.probabilities is not None:
        event["probabilities"] = _pack(response.probabilities)
    return event


def _charge(event: Event) -> Charge:
    key = RequestKey(event["uid"], event["sequence"], event["digest"], event["images"])
    labels = np.frombuffer(base64.b64decode(event["labels"]), np.uint16).astype(np.int64)
    probabilities = None
    if "probabilities" in event:
        flat = np.frombuffer(base64.b64decode(event["probabilities"]), np.float32)
        probabilities = flat.reshape(len(labels), -1)
    return Charge(key, event["executed"], Response(labels, probabilities))


def _pack(array: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _lock(file: BinaryIO, path: Path, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StorageError(
                    f"another process writes to {path}",
                    "a run has one teacher and one ledger",
                    "wait for the other run to end, or end it",
                ) from None
            time.sleep(0.1)


def _storage_error(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write the ledger {path}",
        str(error.strerror or error),
        "nothing was charged; free space, then: raysys tune --resume RUN",
    )
