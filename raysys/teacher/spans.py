"""When trials worked, as the ledger tells: from the opening of their account to its closing."""

from dataclasses import dataclass
from pathlib import Path

from pyarrow.fs import FileSystem

from raysys.records import EVALUATION
from raysys.teacher.journal import read_events


@dataclass(frozen=True, slots=True)
class Span:
    """A trial's work from `start` to `end`, seconds since 1970; not `closed`: when it was last heard of."""

    uid: str
    start: float
    end: float
    closed: bool


def ledger_spans(folder: Path, filesystem: FileSystem | None = None) -> list[Span]:
    """The spans of the ledger in `folder`, by their starts; a trial that was resumed has several.

    Raises CorruptRunError, StorageError.
    """
    spans: list[Span] = []
    latest: dict[str, int] = {}
    for event in read_events(folder, filesystem):
        now = event["time"]
        if "open" in event and event["open"] != EVALUATION:
            latest[event["open"]] = len(spans)
            spans.append(Span(event["open"], now, now, False))
        told = {event.get("close"), *(charge["uid"] for charge in event.get("charges", ()))}
        for uid in told & latest.keys():
            place = latest[uid]
            spans[place] = Span(uid, spans[place].start, now, "close" in event)
    return spans
