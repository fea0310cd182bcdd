"""The ledger as a table for looking at: one row a request. Its answers are not decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.fs import FileSystem

from raysys.files import list_folder
from raysys.teacher.journal import Event, apply, read_events
from raysys.teacher.ledger import Ledger

_MOMENT = pa.timestamp("us", tz="UTC")

CHARGES = pa.schema(
    [
        ("uid", pa.string()),
        ("sequence", pa.int64()),
        ("request_id", pa.string()),
        ("images", pa.int64()),
        ("sent", pa.int64()),
        ("charged", pa.int64()),
        ("attempts", pa.int64()),
        ("sent_at", _MOMENT),
        ("answered_at", _MOMENT),
    ]
)
"""Columns of the table.

`uid` of the trial, or `evaluation`; `sequence` numbers its requests from 0. `request_id` is the digest of the
images, `images` how many they are: null where no answer came. `sent` are images in all attempts, `charged`
are queries: `images`, or 0. `attempts` is how often images of the request were sent. Moments are UTC, null
where there was none.
"""


@dataclass(slots=True)
class _Request:
    sent_at: float | None
    request_id: str | None = None
    images: int | None = None
    sent: int = 0
    attempts: int = 0
    answered_at: float | None = None


_Requests = dict[tuple[str, int], _Request]


@dataclass(frozen=True)
class Charges:
    """A ledger at one moment: its requests (columns `CHARGES`), itself without the answers, and how many
    images the teacher's own counter told of last, if it did.
    """

    table: pa.Table
    ledger: Ledger
    counted: int | None


@dataclass(frozen=True)
class Answers:
    """How a teacher answered.

    `seconds` float64 (answered,) from the first sending of a request to its answer; `unanswered` are the
    requests without one (rows of the table); `again` counts images that were sent once more for requests
    that got an answer in the end.
    """

    seconds: npt.NDArray[np.float64]
    unanswered: pa.Table
    again: int


def charges_table(folder: Path, filesystem: FileSystem | None = None) -> pa.Table:
    """The requests of the ledger in `folder`, in the order of first sending: columns `CHARGES`.

    Raises CorruptRunError, StorageError.
    """
    return read_charges(folder, filesystem).table


def read_charges(folder: Path, filesystem: FileSystem | None = None) -> Charges:
    """The ledger in `folder`. Raises CorruptRunError, StorageError."""
    ledger, requests, counted = Ledger(), _Requests(), None
    for event in read_events(folder, filesystem):
        apply(ledger, event, answers=False)
        _book(requests, event)
        counted = event.get("counted", counted)
    return Charges(_table(requests), ledger, counted)


def answers(table: pa.Table) -> Answers:
    """What the requests of `charges_table` tell of how they were answered."""
    waited = pc.subtract(table["answered_at"], table["sent_at"]).drop_null().cast(pa.int64())
    got = table.filter(pc.is_valid(table["answered_at"]))
    return Answers(
        seconds=waited.to_numpy() / 1e6,
        unanswered=table.filter(pc.is_null(table["answered_at"])),
        again=pc.sum(got["sent"], min_count=0).as_py() - pc.sum(got["charged"], min_count=0).as_py(),
    )


def ledger_size(folder: Path, filesystem: FileSystem) -> int:
    """Bytes of the ledger's files; of segments, up to twice what is read. Raises StorageError."""
    return sum(info.size or 0 for info in list_folder(filesystem, folder, recursive=True))


def _book(requests: _Requests, event: Event) -> None:
    for uid, sequence, images in event.get("sent", ()):
        request = requests.setdefault((uid, sequence), _Request(event["time"]))
        request.sent += images
        request.attempts += 1 if images > 0 else -1
        if not request.attempts:  # it never reached the teacher
            del requests[uid, sequence]
    for charge in event.get("charges", ()):
        request = requests.setdefault((charge["uid"], charge["sequence"]), _Request(None))
        request.request_id, request.images = charge["digest"], charge["images"]
        request.answered_at = event["time"]


def _table(requests: _Requests) -> pa.Table:
    rows = requests.values()
    images = [request.images for request in rows]
    columns: dict[str, Any] = {
        "uid": [uid for uid, _ in requests],
        "sequence": [sequence for _, sequence in requests],
        "request_id": [request.request_id for request in rows],
        "images": images,
        "sent": [request.sent for request in rows],
        "charged": [asked or 0 for asked in images],
        "attempts": [request.attempts for request in rows],
        "sent_at": _moments([request.sent_at for request in rows]),
        "answered_at": _moments([request.answered_at for request in rows]),
    }
    return pa.table(columns, schema=CHARGES)


def _moments(seconds: Sequence[float | None]) -> pa.Array:
    since = np.array(seconds, dtype=np.float64)
    return pa.array((1e6 * np.nan_to_num(since)).astype("datetime64[us]"), _MOMENT, mask=np.isnan(since))
