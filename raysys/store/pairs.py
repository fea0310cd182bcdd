"""What a trial paid for: the images that it asked and the teacher's answers, in the order of asking.

A trial keeps them in parts, each before the state that goes with it, and joins them when it has ended. Then
they lie beside its student: `image` (the bytes of a uint8 image; its shape (c, h, w) is in the schema's
metadata), `label` int64 and, from a soft teacher, `probabilities` float32.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from raysys.errors import CorruptRunError
from raysys.files import delete, file_info, write_atomic
from raysys.oracle import Images, Response
from raysys.store.layout import RunLayout
from raysys.store.parts import Parts, number_of

ROWS = 4096
"""Images of a row group: what is in memory at once while files are joined."""

_BATCH = 64
"""Images in memory at once where some are picked."""

_SHAPE = b"image_shape"


def keep_part(layout: RunLayout, uid: str, first: int, images: Images, response: Response) -> None:
    """Keep the pairs `first`, `first` + 1, ... of a trial, replacing a part that began there.

    Images uint8 (n, c, h, w), n >= 1. Raises StorageError.
    """
    _parts(layout, uid).replace(pairs_table(images, response), first)


def join_parts(layout: RunLayout, uid: str) -> None:
    """Put the parts of a trial beside its student; then they go. Raises StorageError.

    Nothing is written where one is missing, as where an older raysys began the trial, or damaged: the ledger
    still has the answers, and a trial that was paid for must not fail for its pairs.
    """
    folder = _parts(layout, uid)
    parts, rows = folder.files(), 0
    if not parts:
        return
    try:
        for info in parts:
            if number_of(info) != rows:
                return
            if (data := folder.content(info)) is None:
                return
            file = pq.ParquetFile(pa.BufferReader(data))
            rows += file.metadata.num_rows
            schema = file.schema_arrow
    except (OSError, pa.ArrowException):  # of what is in memory
        return

    def write(stream: pa.NativeFile) -> None:
        waiting: list[pa.Table] = []
        with pq.ParquetWriter(stream, schema, write_page_checksum=True) as writer:
            for info in parts:
                with _open(layout, info.path) as file:
                    waiting.append(file.read())
                if info is parts[-1] or sum(table.num_rows for table in waiting) >= ROWS:
                    writer.write_table(pa.concat_tables(waiting), row_group_size=ROWS)
                    waiting = []

    write_atomic(layout.filesystem, layout.pairs(uid), write)
    for info in parts:  # the first one first: what a stop leaves cannot be joined again
        delete(layout.filesystem, info.path)


def has_pairs(layout: RunLayout, uid: str) -> bool:
    """True when the pairs of a trial are kept. Raises StorageError."""
    return bool(file_info(layout.filesystem, layout.pairs(uid)).is_file)


def read_pairs(layout: RunLayout, uid: str) -> tuple[Images, Response]:
    """Images uint8 (n, c, h, w) and the teacher's answers, in the order of asking.

    Raises CorruptRunError when they are not kept or cannot be read.
    """
    with _opened(layout, uid) as file:
        return _read(file)


def read_labels(layout: RunLayout, uid: str) -> npt.NDArray[np.int64]:
    """The teacher's labels of all pairs (n,), in the order of asking. Raises CorruptRunError."""
    with _opened(layout, uid) as file:
        return np.asarray(file.read(columns=["label"])["label"].to_numpy(), dtype=np.int64)


def read_some_pairs(layout: RunLayout, uid: str, rows: Sequence[int]) -> tuple[Images, Response]:
    """`rows` (rising, at least one) of what `read_pairs` returns.

    Only the row groups that hold them are read, in small batches. Raises CorruptRunError.
    """
    with _opened(layout, uid) as file:
        shape = json.loads(file.schema_arrow.metadata[_SHAPE])
        images, labels, told = [], [], []
        for batch in _batches_with(file, np.asarray(rows)):
            pixels, label, probabilities = _columns(batch, int(np.prod(shape)))
            images.append(pixels)
            labels.append(label)
            told.append(probabilities)
        soft = told[0] is not None
        return np.concatenate(images).reshape(-1, *shape), Response(
            np.concatenate(labels), np.concatenate(told) if soft else None
        )


def _batches_with(file: pq.ParquetFile, rows: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """`rows` of the file, in batches."""
    at = 0
    for group in range(file.num_row_groups):
        end = at + file.metadata.row_group(group).num_rows
        if not ((rows >= at) & (rows < end)).any():
            at = end
            continue
        for batch in file.iter_batches(_BATCH, row_groups=[group]):
            inside = rows[(rows >= at) & (rows < at + len(batch))] - at
            if len(inside):
                yield batch.take(pa.array(inside))
            at += len(batch)


def pairs_table(images: Images, response: Response) -> pa.Table:
    """Images uint8 (n, c, h, w) with their answers as a table of n rows."""
    n, *shape = images.shape
    size = int(np.prod(shape))
    pixels = pa.py_buffer(np.ascontiguousarray(images))
    columns = {
        "image": pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), n, [None, pixels]),
        "label": pa.array(response.labels, pa.int64()),
    }
    if response.probabilities is not None:
        classes = response.probabilities.shape[1]
        ends = np.arange(n + 1, dtype=np.int32) * classes
        columns["probabilities"] = pa.ListArray.from_arrays(
            ends, pa.array(response.probabilities.ravel(), pa.float32())
        )
    return pa.table(columns).replace_schema_metadata({_SHAPE: json.dumps(shape)})


def _parts(layout: RunLayout, uid: str) -> Parts:
    return Parts(layout.filesystem, layout.checkpoints(uid) / "pairs", pa.schema([]))


def _read(file: pq.ParquetFile) -> tuple[Images, Response]:
    shape = json.loads(file.schema_arrow.metadata[_SHAPE])
    n, size = file.metadata.num_rows, int(np.prod(shape))
    images, labels = np.empty((n, size), np.uint8), np.empty(n, np.int64)
    told: list[Any] = []
    at = 0
    groups = (file.read_row_group(number) for number in range(file.num_row_groups))
    for batch in (batch for table in groups for batch in table.to_batches()):
        rows = slice(at, at + len(batch))
        images[rows], labels[rows], probabilities = _columns(batch, size)
        if probabilities is not None:
            told.append(probabilities)
        at = rows.stop
    return images.reshape(n, *shape), Response(labels, np.concatenate(told) if told else None)


def _columns(batch: pa.RecordBatch, size: int) -> tuple[Any, Any, Any]:
    """Pixels uint8 (n, size), labels (n,) and, from a soft teacher, probabilities (n, classes)."""
    pixels = batch.column("image")
    flat = np.frombuffer(pixels.buffers()[1], np.uint8, len(batch) * size, pixels.offset * size)
    soft = "probabilities" in batch.schema.names
    return (
        flat.reshape(-1, size),
        batch.column("label").to_numpy(),
        batch.column("probabilities").flatten().to_numpy().reshape(len(batch), -1) if soft else None,
    )


@contextmanager
def _open(layout: RunLayout, path: str) -> Iterator[pq.ParquetFile]:
    with layout.filesystem.open_input_file(path) as stream:
        yield pq.ParquetFile(stream, page_checksum_verification=True)


@contextmanager
def _opened(layout: RunLayout, uid: str) -> Iterator[pq.ParquetFile]:
    """The pairs of a trial, where whatever is wrong with them is a CorruptRunError."""
    path = layout.pairs(uid)
    try:
        with _open(layout, str(path)) as file:
            yield file
    except (OSError, pa.ArrowException, ValueError, TypeError, KeyError) as failure:
        raise CorruptRunError(
            f"cannot read {path}",
            f"{type(failure).__name__}: {str(failure).partition(chr(10))[0]}",
            "restore the file from a backup; nothing was changed",
        ) from None
