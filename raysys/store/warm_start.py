"""The trials of earlier runs that a search begins with, kept in the run: a resume must know the same ones."""

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from raysys.errors import CorruptRunError
from raysys.files import read_bytes, write_atomic
from raysys.records import TrialRecord
from raysys.store.layout import RunLayout
from raysys.store.schema import TRIALS, trial_record, trials_table


def keep_earlier(layout: RunLayout, records: Sequence[TrialRecord]) -> str:
    """Keep the trials; the sha256 (hex) of the file. Raises StorageError."""
    sink = pa.BufferOutputStream()
    pq.write_table(trials_table(records), sink)
    content = sink.getvalue()
    write_atomic(layout.filesystem, layout.warm_start, lambda stream: stream.write(content))
    return hashlib.sha256(content).hexdigest()


def read_earlier(layout: RunLayout, sha256: str = "") -> list[TrialRecord]:
    """The trials that were kept, in their order; `sha256` is what `keep_earlier` gave, or empty.

    Raises CorruptRunError when they are not those, StorageError when the storage cannot be read.
    """
    content = read_bytes(layout.filesystem, layout.warm_start)
    if content is None:
        raise _lost(layout, "it is missing")
    if sha256 not in ("", found := hashlib.sha256(content).hexdigest()):
        raise _lost(layout, f"its sha256 was {sha256[:12]}, now it is {found[:12]}")
    try:
        rows = pq.read_table(pa.BufferReader(content), columns=TRIALS.names).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise _lost(layout, str(error).partition("\n")[0]) from error
    return [trial_record(row) for row in rows]


def _lost(layout: RunLayout, why: str) -> CorruptRunError:
    return CorruptRunError(
        f"cannot read {layout.warm_start}",
        why,
        "restore the file from a backup: the search cannot go on as it began",
    )
