"""Where one trial's checkpoint, pictures and student lie in a run."""

import io
import json
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from raysys.distill.trial import saved_position
from raysys.models.weights import save_safetensors, state_sha256
from raysys.oracle import Images, Response
from raysys.records import TrialConfig
from raysys.store.files import write_atomic
from raysys.store.layout import RunLayout
from raysys.store.pairs import join_parts, keep_part

GRID = 8
"""Pictures a row of a contact sheet."""
SIDE = 256
"""Least side of a contact sheet's picture rows, in pixels."""
CRC_BYTES = 4


class TrialFiles:
    """The files of one trial, on the machine where it runs. A `distill.trial.Keeper`."""

    def __init__(self, layout: RunLayout, uid: str) -> None:
        self._layout = layout
        self._uid = uid
        self._folder = layout.checkpoints(uid)
        self._state = self._folder / "state.pt"

    def load(self) -> bytes | None:
        """See `Keeper.load`."""
        try:
            return self._state.read_bytes()
        except FileNotFoundError:
            return None

    def position(self) -> tuple[int, int] | None:
        """(requests made, queries spent) by the saved state, if there is one. Raises CorruptRunError."""
        saved = self.load()
        return None if saved is None else saved_position(saved)

    def save(self, state: bytes) -> None:
        """See `Keeper.save`. Raises StorageError."""
        self._write(self._state, state)
        for path in self._folder.glob("request-*.npy"):
            path.unlink(missing_ok=True)

    def keep_request(self, sequence: int, images: Images) -> None:
        """See `Keeper.keep_request`: on the disk when this returns. Raises StorageError."""
        buffer = io.BytesIO()
        np.save(buffer, images)
        body = buffer.getvalue()
        self._write(self._request(sequence), body + zlib.crc32(body).to_bytes(CRC_BYTES))

    def kept_request(self, sequence: int) -> Images | None:
        """See `Keeper.kept_request`; None for a damaged file too: its images are then made again."""
        path = self._request(sequence)
        data = path.read_bytes() if path.exists() else b""
        body = data[:-CRC_BYTES]
        if not body or data[-CRC_BYTES:] != zlib.crc32(body).to_bytes(CRC_BYTES):
            return None
        images: Images = np.load(io.BytesIO(body), allow_pickle=False)
        return images

    def keep_pairs(self, first: int, images: Images, response: Response) -> None:
        """See `Keeper.keep_pairs`. Raises StorageError."""
        keep_part(self._layout, self._uid, first, images, response)

    def show(self, step: int, samples: Images) -> None:
        """See `Keeper.show`: one PNG a step, pictures side by side."""
        sheet = Image.fromarray(contact_sheet(samples))
        scale = max(1, SIDE // sheet.width)
        folder = self._layout.samples / self._uid
        path = folder / f"{step:05d}.png"
        large = sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)
        write_atomic(self._layout.filesystem, path, lambda stream: large.save(stream, "PNG"))

    def save_student(self, student: nn.Module, config: TrialConfig) -> str:
        """Keep the student with its config and what it paid for; returns the sha256 of its weights."""
        folder = self._layout.students(self._uid)
        folder.mkdir(parents=True, exist_ok=True)
        digest = state_sha256(student)
        self._write(folder / "config.json", json.dumps(asdict(config), indent=2).encode())
        save_safetensors(student, folder / "weights.safetensors", {"uid": self._uid, "sha256": digest})
        join_parts(self._layout, self._uid)
        return digest

    def _request(self, sequence: int) -> Path:
        return self._folder / f"request-{sequence}.npy"

    def _write(self, path: Path, data: bytes) -> None:
        write_atomic(self._layout.filesystem, path, lambda stream: stream.write(data))


def contact_sheet(images: Images) -> Images:
    """Up to 8 x 8 images (n, c, h, w), c 1 or 3, side by side: uint8 (rows h, 8 w) or (rows h, 8 w, 3)."""
    n, channels, height, width = images[: GRID * GRID].shape
    rows = -(-n // GRID)
    grid = np.zeros((rows * GRID, channels, height, width), np.uint8)
    grid[:n] = images[: GRID * GRID]
    sheet = grid.reshape(rows, GRID, channels, height, width).transpose(0, 3, 1, 4, 2)
    flat = sheet.reshape(rows * height, GRID * width, channels)
    return flat[:, :, 0] if channels == 1 else np.ascontiguousarray(flat)
