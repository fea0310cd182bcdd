"""The trials of earlier runs that a search begins with, kept in the run: a resume must know the same ones."""

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from raysys.errors import CorruptRunError
from raysys.files import write_atomic
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


def read_earlier(layout: RunLayout) -> list[TrialRecord]:
    """The trials that were kept, in their order. Raises CorruptRunError."""
    try:
        with layout.filesystem.open_input_file(str(layout.warm_start)) as stream:
            rows = pq.read_table(stream, columns=TRIALS.names).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise CorruptRunError(
            f"cannot read {layout.warm_start}",
            str(error).partition("\n")[0],
            "restore the file from a backup: the search cannot go on as it began",
        ) from error
    return [trial_record(row) for row in rows]
