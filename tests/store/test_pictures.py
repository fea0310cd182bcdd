import hashlib
import io
import zlib

import numpy as np
import pytest
from edge_runs import build, draw, pairs
from PIL import Image

from raysys.errors import CorruptRunError
from raysys.oracle import Response
from raysys.store.pictures import (
    MOST_BYTES,
    answers_sheet,
    file_sha256,
    files_of,
    has_student,
    png,
    read_sheet,
    sheet_steps,
)

UID = "u00000"


@pytest.fixture
def layout(tmp_path):
    return build(tmp_path, "three")


def test_sheets_are_found_by_step_and_read_as_they_are(layout):
    draw(layout, UID, [3, 12])
    (layout.samples / UID / "notes.png").write_bytes(b"")
    (layout.samples / UID / "00007.png").mkdir()
    assert sheet_steps(layout, UID) == [3, 12]
    assert sheet_steps(layout, "u00001") == []
    data = read_sheet(layout, UID, 12)
    assert data == (layout.samples / UID / "00012.png").read_bytes()
    assert Image.open(io.BytesIO(data)).size == (256, 256)


def test_what_is_no_sheet_is_refused_with_a_reason(layout):
    folder = layout.samples / UID
    folder.mkdir(parents=True)
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG")
    (folder / "00001.png").write_bytes(buffer.getvalue())
    (folder / "00002.png").write_bytes(png(np.zeros((64, 64), np.uint8))[:-30])
    (folder / "00003.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(MOST_BYTES))
    (folder / "00004.png").write_bytes(bomb(60_000, 60_000))
    for step, why in {1: "no PNG", 2: "no PNG", 3: "bytes", 4: "pixels|no PNG", 5: "missing"}.items():
        with pytest.raises(CorruptRunError, match=why):
            read_sheet(layout, UID, step)


def bomb(width, height):
    """A PNG of a few bytes that says that it is this large."""
    header = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + header + zlib.crc32(header).to_bytes(4)


def test_answers_stand_below_enlarged_images():
    images = np.zeros((12, 1, 8, 8), np.uint8)
    images[11] = 200
    sheet = answers_sheet(images, Response(np.arange(12)), columns=10, side=64)
    assert sheet.shape == (2 * (64 + 18), 10 * (64 + 6), 3)
    assert (sheet[82 : 82 + 64, 70 : 70 + 64] == 200).all()
    assert (sheet[64:82, :64] < 128).any(), "no label is written below the first image"
    wide = answers_sheet(np.zeros((1, 3, 80, 40), np.uint8), Response(np.zeros(1, int)), side=64)
    assert wide.shape == (80 + 18, 64 + 6, 3)


def test_files_of_a_trial_with_their_hashes(layout):
    assert files_of(layout, UID).num_rows == 0
    assert not has_student(layout, UID)
    pairs(layout, UID, [1, 2])
    folder = layout.students(UID)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (layout.checkpoints(UID)).mkdir(parents=True, exist_ok=True)
    (layout.checkpoints(UID) / "state-1.pt").write_bytes(b"state")
    rows = files_of(layout, UID).to_pylist()
    assert [row["file"] for row in rows] == [
        f"checkpoints/{UID}/state-1.pt",
        f"students/{UID}/pairs.parquet",
        f"students/{UID}/weights.safetensors",
    ]
    assert rows[2]["bytes"] == 7
    assert has_student(layout, UID)
    assert file_sha256(layout, rows[2]["file"]) == hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(CorruptRunError, match=r"cannot read .*gone"):
        file_sha256(layout, "gone")
