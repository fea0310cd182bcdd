"""What a run keeps of a trial to look at: sheets of what its generator made, and its files.

Everything is read through the layout's filesystem, of bounded size, and what is no PNG is not shown.
"""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from raysys.errors import CorruptRunError
from raysys.files import file_info, list_folder, read_bytes
from raysys.oracle import Images, Response
from raysys.store.layout import RunLayout

MOST_BYTES, MOST_PIXELS = 8_000_000, 4_000_000
"""A sheet of more is not read: those that a trial writes are far smaller."""

_GUTTER, _LINE = 6, 18
"""Pixels between images that were asked, and of the line below each."""

_SHEET = re.compile(r"(\d{5,9})\.png")


def sheet_steps(layout: RunLayout, uid: str) -> list[int]:
    """Steps of which trial `uid` left a sheet, rising. Raises StorageError."""
    found = list_folder(layout.filesystem, layout.samples / uid)
    names = (_SHEET.fullmatch(info.base_name) for info in found if info.is_file)
    return sorted(int(name[1]) for name in names if name)


def read_sheet(layout: RunLayout, uid: str, step: int) -> bytes:
    """The PNG of a step: what the generator made, side by side. Raises CorruptRunError, StorageError."""
    path = layout.samples / uid / f"{step:05d}.png"
    size = file_info(layout.filesystem, path).size
    if size is not None and size > MOST_BYTES:
        raise _no_sheet(path, f"it has {size:,} bytes; a sheet has {MOST_BYTES:,} at most")
    data = read_bytes(layout.filesystem, path)
    if data is None:
        raise _no_sheet(path, "it is missing")
    try:
        image = Image.open(io.BytesIO(data), formats=["PNG"])
        if image.width * image.height > MOST_PIXELS:
            raise _no_sheet(path, f"it has {image.width} x {image.height} pixels")
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as failure:
        raise _no_sheet(path, f"it is no PNG: {str(failure).partition(chr(10))[0]}") from None
    return data


def png(pixels: Images) -> bytes:
    """Pixels uint8 (h, w) or (h, w, 3) as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def answers_sheet(images: Images, response: Response, columns: int = 10, side: int = 64) -> Images:
    """Images uint8 (n, c, h, w), c 1 or 3, side by side, each over the teacher's label: uint8 (H, W, 3).

    Beside the label stands its probability, where the teacher told it. Images are enlarged by a whole factor
    to about `side` pixels.
    """
    factor = max(1, side // max(images.shape[2:]))
    large = images.repeat(factor, axis=2).repeat(factor, axis=3).transpose(0, 2, 3, 1)
    n, height, width = large.shape[:3]
    sure = None if response.probabilities is None else response.probabilities.max(axis=1)
    cell_width, cell_height = max(width, side) + _GUTTER, height + _LINE
    rows = -(-n // columns)
    sheet = Image.new("RGB", (min(n, columns) * cell_width, rows * cell_height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, pixels in enumerate(large):
        left, top = number % columns * cell_width, number // columns * cell_height
        sheet.paste(Image.fromarray(np.broadcast_to(pixels, (height, width, 3)).copy()), (left, top))
        label = str(response.labels[number])
        text = label if sure is None else f"{label}  {sure[number]:.0%}"
        draw.text((left + 2, top + height + 1), text, fill="black", font=ImageFont.load_default(_LINE - 4))
    return np.asarray(sheet)


def files_of(layout: RunLayout, uid: str) -> pa.Table:
    """The files kept of trial `uid`: its student, what it paid for, and its checkpoint while it has one.

    Columns: `file` (below the run's folder), `bytes`, `written` (UTC). Raises StorageError.
    """
    folders = [layout.students(uid), layout.checkpoints(uid), layout.checkpoints(uid) / "pairs"]
    rows = [
        {
            "file": f"{folder.relative_to(layout.root)}/{info.base_name}",
            "bytes": info.size,
            "written": info.mtime,
        }
        for folder in folders
        for info in list_folder(layout.filesystem, folder)
        if info.is_file
    ]
    types = [("file", pa.string()), ("bytes", pa.int64()), ("written", pa.timestamp("s", "UTC"))]
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["file"]), schema=pa.schema(types))


def has_student(layout: RunLayout, uid: str) -> bool:
    """True when the student of trial `uid` is kept. Raises StorageError."""
    return bool(file_info(layout.filesystem, layout.students(uid) / "weights.safetensors").is_file)


def file_sha256(layout: RunLayout, file: str) -> str:
    """The sha256 of a file of `files_of`, read in pieces. Raises CorruptRunError when it is gone."""
    digest = hashlib.sha256()
    try:
        with layout.filesystem.open_input_stream(str(layout.root / file)) as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    except OSError as failure:
        raise CorruptRunError(f"cannot read {file}", str(failure).partition("\n")[0]) from None
    return digest.hexdigest()


def _no_sheet(path: Path, why: str) -> CorruptRunError:
    return CorruptRunError(f"cannot show {path.parent.name}/{path.name}", why)
