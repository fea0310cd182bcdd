"""Who works on a run: one driver, which shows a sign of life every few seconds; and the wish that it ends.

Two small files, on any filesystem: terminals on other machines read the first and write the second.
"""

import os
import socket
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from raysys.files import delete, read_bytes, write_atomic
from raysys.store.layout import RunLayout

BEAT_S = 5.0
"""Seconds between two signs of life."""

SILENCE_S = 30.0
"""A driver that was silent for so long is dead, or was cut off from the storage."""


class Driver(BaseModel):
    """The process that works on a run; `token` is no other's, `beat` its last sign of life, by its clock."""

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int
    token: str
    beat: datetime

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def silent_for(self, now: datetime | None = None) -> timedelta:
        """The time since its last sign of life."""
        return (now or datetime.now(UTC)) - self.beat

    @property
    def gone(self) -> bool:
        """True when it ran on this machine and its process is no more."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False

    @property
    def alive(self) -> bool:
        """True when it showed a sign of life lately, if its clock and this one agree."""
        return not self.gone and self.silent_for() < timedelta(seconds=SILENCE_S)


class StopRequest(BaseModel):
    """That the run should end: softly, or `now`. `token` names the driver that is meant."""

    model_config = ConfigDict(frozen=True)

    token: str
    now: bool
    asked_by: str


_Record = TypeVar("_Record", Driver, StopRequest)


def read_driver(layout: RunLayout) -> Driver | None:
    """The driver of a run; None when none works on it, by its files. Raises StorageError."""
    return _read(layout, Driver)


def read_stop(layout: RunLayout) -> StopRequest | None:
    """What a driver was asked, if it was. Raises StorageError."""
    return _read(layout, StopRequest)


def write_record(layout: RunLayout, record: Driver | StopRequest) -> None:
    """Write or replace it. Raises StorageError."""
    path = layout.driver if isinstance(record, Driver) else layout.stop
    write_atomic(layout.filesystem, path, lambda stream: stream.write(record.model_dump_json().encode()))


def forget_driver(layout: RunLayout) -> None:
    """Take both files away, where they are. Raises StorageError."""
    for path in (layout.driver, layout.stop):
        delete(layout.filesystem, path)


def _read(layout: RunLayout, kind: type[_Record]) -> _Record | None:
    found = read_bytes(layout.filesystem, layout.driver if kind is Driver else layout.stop)
    try:
        return None if found is None else kind.model_validate_json(found)
    except ValidationError:
        return None  # damaged: it is written again every few seconds, or was never of use
