"""Where one trial's checkpoint, pictures and student lie in a run."""

import io
import json
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from raysys.distill.trial import Position, saved_position
from raysys.files import delete, list_folder, read_bytes, write_atomic
from raysys.models.weights import save_safetensors, state_sha256
from raysys.oracle import Images, Response
from raysys.records import TrialConfig
from raysys.store.layout import RunLayout
from raysys.store.pairs import join_parts, keep_part

GRID = 8
"""Pictures a row of a contact sheet."""
SIDE = 256
"""Least side of a contact sheet's picture rows, in pixels."""
CRC_BYTES = 4

_STATE, _REQUEST = "state-{}.pt", "request-{}.npy"
"""Files of a trial that has not ended, by the number of the next request, or of their own."""


class TrialFiles:
    """The files of one trial, wherever the run lies. A `distill.trial.Keeper`.

    States and requests end with a checksum that is seeded with their name: one that was swapped with another
    trial's is damaged. The two newest states are kept, and the requests that the older one may make again.
    """

    def __init__(self, layout: RunLayout, uid: str) -> None:
        self._layout = layout
        self._uid = uid
        self._folder = layout.checkpoints(uid)

    def load(self) -> bytes | None:
        """See `Keeper.load`."""
        return self.newest()[0]

    def newest(self) -> tuple[bytes | None, list[str]]:
        """The newest state that is whole, and the names of newer ones that are damaged."""
        damaged: list[str] = []
        for sequence in reversed(self._sequences(_STATE)):
            if (state := self._read(_STATE, sequence)) is not None:
                return state, damaged
            damaged.append(_STATE.format(sequence))
        return self._old_state(damaged), damaged

    def position(self) -> Position | None:
        """Where the saved state stands, if there is one. Raises CorruptRunError."""
        saved = self.load()
        return None if saved is None else saved_position(saved)

    def save(self, state: bytes, sequence: int) -> None:
        """See `Keeper.save`. Raises StorageError."""
        self._seal(_STATE, sequence, state)
        kept = self._sequences(_STATE)
        before = kept[-2] if len(kept) > 1 else 0
        for name in (_STATE, _REQUEST):
            for number in self._sequences(name):
                if number < before:
                    delete(self._layout.filesystem, self._folder / name.format(number))

    def keep_request(self, sequence: int, images: Images) -> None:
        """See `Keeper.keep_request`: on the disk when this returns. Raises StorageError."""
        buffer = io.BytesIO()
        np.save(buffer, images)
        self._seal(_REQUEST, sequence, buffer.getvalue())

    def kept_request(self, sequence: int) -> Images | None:
        """See `Keeper.kept_request`; None for a damaged file too: its images are then made again."""
        body = self._read(_REQUEST, sequence)
        if body is None:
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
        digest = state_sha256(student)
        self._write(folder / "config.json", json.dumps(asdict(config), indent=2).encode())
        metadata = {"uid": self._uid, "sha256": digest}
        save_safetensors(student, folder / "weights.safetensors", metadata, self._layout.filesystem)
        join_parts(self._layout, self._uid)
        return digest

    def _seal(self, name: str, sequence: int, body: bytes) -> None:
        parts = [body, self._checksum(name, sequence, body)]
        path = self._folder / name.format(sequence)
        write_atomic(self._layout.filesystem, path, lambda stream: stream.writelines(parts))

    def _read(self, name: str, sequence: int) -> bytes | None:
        """What was sealed; None where there is nothing, or it is damaged."""
        data = read_bytes(self._layout.filesystem, self._folder / name.format(sequence)) or b""
        body = data[:-CRC_BYTES]
        return body if body and data[-CRC_BYTES:] == self._checksum(name, sequence, body) else None

    def _checksum(self, name: str, sequence: int, body: bytes) -> bytes:
        seed = zlib.crc32(f"{self._uid}/{name.format(sequence)}".encode())
        return zlib.crc32(body, seed).to_bytes(CRC_BYTES)

    def _old_state(self, damaged: list[str]) -> bytes | None:
        """The state that schema 1 kept: a checksum without a seed, then the body."""
        data = read_bytes(self._layout.filesystem, self._folder / "state.pt") or b""
        if data and data[:CRC_BYTES] != zlib.crc32(data[CRC_BYTES:]).to_bytes(CRC_BYTES):
            damaged.append("state.pt")
            return None
        return data[CRC_BYTES:] or None

    def _sequences(self, name: str) -> list[int]:
        """The numbers of the files of that name, rising."""
        before, after = name.split("{}")
        names = (info.base_name for info in list_folder(self._layout.filesystem, self._folder))
        told = (
            one.removeprefix(before).removesuffix(after)
            for one in names
            if one.startswith(before) and one.endswith(after)
        )
        return sorted(int(number) for number in told if number.isdecimal())

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
