"""Images in Parquet, in the layout of Hugging Face data sets.

Columns: `img` or `image`, a struct of `bytes` (an encoded image) and `path`; `label` or `fine_label`,
an integer. Images that nobody labelled come without the latter.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from raysys.data.decode import decode
from raysys.errors import DataError
from raysys.oracle import Images

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")
JPEG_MAGIC = b"\xff\xd8"


def find_parquet(folder: Path, *splits: str) -> list[Path]:
    """The Parquet files of the first of `splits` (`train`, `test`, ...) that has any, in order of name.

    They lie in `folder` or `folder/data` and their names begin with the split's; "" takes them all.
    """
    for split in splits:
        files = sorted([*folder.glob(f"{split}*.parquet"), *folder.glob(f"data/{split}*.parquet")])
        if files:
            return files
    return []


def holds_jpeg(file: Path) -> bool:
    """True when the file's first image is a JPEG, that is, not the pixels of a lossless original."""
    with _open(file) as table:
        image = _image_column(table, file)
        first = next(table.iter_batches(batch_size=1, columns=[image]), None)
        return first is not None and _contents(first.column(0), file)[0].startswith(JPEG_MAGIC)


def has_labels(file: Path) -> bool:
    """True when the file has a column of labels."""
    with _open(file) as table:
        return any(name in LABEL_COLUMNS for name in table.schema_arrow.names)


def read_parquet(
    files: list[Path], image_shape: tuple[int, int, int]
) -> tuple[Images, npt.NDArray[np.int64]]:
    """All images uint8 (n, c, h, w), resized to `image_shape`, and labels int64 (n,).

    Raises DataError for files that cannot be read, lack a column, or hold rows without image or label.
    """
    labels = [_labels(file) for file in files]
    return read_images(files, image_shape), np.concatenate(labels)


def read_images(files: list[Path], image_shape: tuple[int, int, int]) -> Images:
    """All images uint8 (n, c, h, w), resized to `image_shape`. Raises DataError as `read_parquet` does."""
    rows = []
    for file in files:
        with _open(file) as table:
            rows.append(table.metadata.num_rows)
    images = np.empty((sum(rows), *image_shape), dtype=np.uint8)
    row = 0
    for file in files:
        with _open(file) as table:
            for batch in table.iter_batches(batch_size=1000, columns=[_image_column(table, file)]):
                for content in _contents(batch.column(0), file):
                    images[row] = decode(content, image_shape, f"in row {row} of {file}")
                    row += 1
    return images


def _labels(file: Path) -> npt.NDArray[np.int64]:
    with _open(file) as table:
        _image_column(table, file)  # its absence is told first
        names = table.schema_arrow.names
        label = next((name for name in LABEL_COLUMNS if name in names), None)
        if label is None:
            raise _lacks_columns(file, names)
        if not pa.types.is_integer(table.schema_arrow.field(label).type):
            raise DataError(f"{file}: {label} must be an integer")
        column = table.read(columns=[label])[label]
    if column.null_count:
        raise DataError(f"{file} has rows without a label")
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _open(file: Path) -> Any:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"cannot read {file}", str(error), "is it a complete Parquet file?") from None


def _image_column(table: Any, file: Path) -> str:
    names = table.schema_arrow.names
    image = next((name for name in IMAGE_COLUMNS if name in names), None)
    if image is None:
        raise _lacks_columns(file, names)
    if not pa.types.is_struct(table.schema_arrow.field(image).type):
        raise DataError(f"{file}: {image} must be a struct of bytes and path")
    return image


def _lacks_columns(file: Path, names: list[str]) -> DataError:
    return DataError(
        f"{file} has no images with labels: its columns are {', '.join(names)}",
        "expected img or image (struct of bytes and path), and label or fine_label (integer)",
    )


def _contents(column: pa.StructArray, file: Path) -> list[bytes]:
    contents: list[Any] = column.field("bytes").to_pylist()
    if None in contents:
        raise DataError(f"{file} has rows without image bytes", "images outside the file are not followed")
    return contents
