"""The ledger's durable log: one checksummed JSON line an event, appended before anything depends on it.

A line is `crc32 SP json LF`. Events are `open` and `close` of accounts, `sent` (before each attempt; it
survives kill -9, not a power cut), `charges` (a group of answers in one line, so that it is there as a whole
or not at all; on the disk before a reply leaves) and `counted` (what the teacher's own counter said).
Replay rebuilds the ledger; a torn tail (the process died while it wrote) is dropped, its requests are asked
again; a damaged line that has its end is an error, never skipped.
"""

import base64
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
from pyarrow.fs import FileSystem, FileType, LocalFileSystem
from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from raysys.errors import CorruptRunError
from raysys.files import file_info
from raysys.oracle import Response
from raysys.records import Account
from raysys.teacher.ledger import Charge, Ledger, RequestKey
from raysys.teacher.log import FILE, LocalLog, Log, file_lines, storage_error
from raysys.teacher.segment_log import SegmentLog, in_segments, segment_lines

Event = dict[str, Any]
"""What one line says; `time` (seconds since 1970) is when."""

_MOST = 2**40
_Count = Annotated[int, Field(ge=0, lt=_MOST)]


class _Charged(TypedDict):
    uid: str
    sequence: _Count
    digest: str
    images: _Count
    labels: str
    probabilities: NotRequired[str]


class _Line(TypedDict, total=False):
    """What the lines that this raysys knows hold, each some of it."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    time: Annotated[FiniteFloat, Field(ge=0, lt=1e11)]
    open: str
    close: str
    budget: _Count
    epoch: _Count
    sent: list[tuple[str, _Count, Annotated[int, Field(gt=-_MOST, lt=_MOST)]]]
    charges: list[_Charged]
    counted: _Count


_LINE = TypeAdapter(_Line)

_LEFT_OUT = Response(np.empty(0, np.int64))


class Journal:
    """Appends events for one writer at a time. Every method that appends raises StorageError."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._clock = clock

    def replay(self, ledger: Ledger) -> None:
        """Bring `ledger` up to date and cut off a torn tail. Call once, first.

        Raises CorruptRunError, StorageError.
        """
        size = 0
        for event, line in _events(self._log.lines(), self._log.name):
            apply(ledger, event)
            size += len(line)
        try:
            self._log.cut(size)
        except OSError as error:
            raise storage_error(self._log.name, error) from error

    def append_open(self, uid: str, budget: int, epoch: int) -> None:
        """Record that an account was opened, or begins its next epoch."""
        self._append({"open": uid, "budget": budget, "epoch": epoch})

    def append_close(self, uid: str) -> None:
        """Record that an account gets no more answers."""
        self._append({"close": uid}, sync=False)

    def append_sent(self, shares: Iterable[tuple[RequestKey, int]]) -> None:
        """Record how many images of each request are sent now; negative: they never were."""
        # Not synced: a forward would wait for the disk twice, and only a power cut can lose the line.
        sent = [[key.uid, key.sequence, images] for key, images in shares]
        self._append({"sent": sent}, sync=False)

    def append_charges(self, charges: Sequence[Charge]) -> None:
        """Record answered requests in one durable write: all of them, or none."""
        self._append({"charges": [_charge_event(charge) for charge in charges]})

    def append_counted(self, executed: int) -> None:
        """Record how many images the teacher itself counted."""
        self._append({"counted": executed})

    def close(self) -> None:
        """Let another writer in."""
        self._log.close()

    def _append(self, event: Event, sync: bool = True) -> None:
        try:
            self._log.append(_encode({**event, "time": self._clock()}), sync)
        except OSError as error:
            raise storage_error(self._log.name, error) from error


def open_journal(folder: Path, filesystem: FileSystem | None = None) -> Journal:
    """The journal of a run whose ledger is in `folder`, for the one writer.

    Raises StorageError, CorruptRunError as `refuse_copy` does.
    """
    refuse_copy(folder, filesystem)
    if filesystem is None or isinstance(filesystem, LocalFileSystem):
        return Journal(LocalLog(folder))
    try:
        return Journal(SegmentLog(filesystem, folder))
    except OSError as error:
        raise storage_error(str(folder), error) from error


def refuse_copy(folder: Path, filesystem: FileSystem | None = None) -> None:
    """Raise CorruptRunError for a ledger that was copied between a folder and an object store; StorageError.

    A new journal would begin an empty ledger beside the one that is there.
    """
    if filesystem is None or isinstance(filesystem, LocalFileSystem):
        where = "on an object store" if in_segments(LocalFileSystem(), folder) else ""
    else:
        where = "in a folder" if _in_file(filesystem, folder) else ""
    if where:
        raise CorruptRunError(
            f"the ledger in {folder} was kept {where}",
            "this is a copy, which can be looked at only: two runs would pay for the same queries",
            "resume the run where it was",
        )


def read_ledger(folder: Path, filesystem: FileSystem | None = None) -> Ledger:
    """The ledger as the journal in `folder` tells it, also while it is being written.

    Raises CorruptRunError, StorageError.
    """
    ledger = Ledger()
    for event in read_events(folder, filesystem):
        apply(ledger, event)
    return ledger


def read_accounts(folder: Path, filesystem: FileSystem | None = None) -> dict[str, Account]:
    """The accounts of the journal in `folder`; none where nothing was asked yet."""
    ledger = Ledger()
    for event in read_events(folder, filesystem):
        apply(ledger, event, answers=False)
    return ledger.accounts()


def read_events(folder: Path, filesystem: FileSystem | None = None) -> Iterator[Event]:
    """Each event of the journal in `folder`, oldest first; none where there is no journal.

    Whether it is one file or segments is told by what is there: so any filesystem will do, also one around
    another. Raises CorruptRunError, StorageError.
    """
    filesystem = filesystem or LocalFileSystem()
    in_file = _in_file(filesystem, folder)
    lines = file_lines(folder / FILE, filesystem) if in_file else segment_lines(filesystem, folder)
    return (event for event, _ in _events(lines, str(folder)))


def apply(ledger: Ledger, event: Event, answers: bool = True) -> None:
    """Apply one event to the ledger; without `answers` they are left out, for who only counts.

    Raises CorruptRunError for an event that this raysys does not know.
    """
    match event:
        case {"open": uid, "budget": budget, "epoch": epoch}:
            if epoch >= ledger.next_epoch(uid, budget):  # an append that failed may have left its line
                ledger.open(uid, budget, epoch)
        case {"close": uid}:
            ledger.close(uid)
        case {"sent": sent}:
            for uid, sequence, images in sent:
                ledger.replay_sent(uid, sequence, images)
        case {"charges": charges}:
            for charge in charges:
                ledger.replay_charge(_charge(charge, answers))
        case {"counted": executed}:
            if ledger.can_count(executed):
                ledger.count(executed)
        case _:
            raise _unknown(event)


def _in_file(filesystem: FileSystem, folder: Path) -> bool:
    """True where the journal is one file, also one that may not be read: that is no empty ledger."""
    there = file_info(filesystem, folder / FILE).type is not FileType.NotFound
    return there and not in_segments(filesystem, folder)


def _events(lines: Iterable[bytes], name: str) -> Iterator[tuple[Event, bytes]]:
    """Each good event with its line; without a torn last one. Raises CorruptRunError if one is damaged."""
    end = 0
    torn: int | None = None
    for line in lines:
        if torn is not None:
            raise _damaged(name, torn)
        if not line.endswith(b"\n"):
            torn = end  # its writer died, or is about to write the rest
            continue
        event = _decode(line)
        if event is None:
            raise _damaged(name, end)
        if "time" not in event:
            raise _unknown(event)
        end += len(line)
        yield event, line


def _unknown(event: Event) -> CorruptRunError:
    return CorruptRunError(
        f"the ledger holds an unknown record: {', '.join(event)}",
        "another version of raysys wrote it",
        "use the raysys that wrote the run",
    )


def _damaged(name: str, byte: int) -> CorruptRunError:
    return CorruptRunError(
        f"the ledger is damaged: {name}, byte {byte}",
        "a whole record does not match its checksum, or is none; what it and later ones charged cannot be"
        " trusted",
        "restore the file from a backup",
    )


def _encode(event: Event) -> bytes:
    body = json.dumps(event, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(body), body)


def _decode(line: bytes) -> Event | None:
    checksum, _, rest = line.partition(b" ")
    body = rest[:-1]
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        event: Event = _LINE.validate_json(body)  # type: ignore[assignment]
    except ValidationError:
        return None
    return event


def _charge_event(charge: Charge) -> Event:
    response = charge.response
    event: Event = {
        "uid": charge.key.uid,
        "sequence": charge.key.sequence,
        "digest": charge.key.digest,
        "images": charge.key.images,
        "labels": _pack(response.labels.astype(np.uint16)),
    }
    if response.probabilities is not None:
        event["probabilities"] = _pack(response.probabilities)
    return event


def _charge(event: Event, answers: bool) -> Charge:
    key = RequestKey(event["uid"], event["sequence"], event["digest"], event["images"])
    if not answers:
        return Charge(key, _LEFT_OUT)
    probabilities = None
    try:
        labels = np.frombuffer(base64.b64decode(event["labels"]), np.uint16).astype(np.int64)
        if "probabilities" in event:
            flat = np.frombuffer(base64.b64decode(event["probabilities"]), np.float32)
            probabilities = flat.reshape(len(labels), -1)
    except ValueError as error:
        raise CorruptRunError(
            f"the ledger is damaged: the answer to request {key.uid}/{key.sequence} is none",
            str(error),
            "restore the file from a backup",
        ) from None
    return Charge(key, Response(labels, probabilities))


def _pack(array: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
