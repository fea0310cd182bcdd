"""A network's hard answers: fast where they are clear, and the same ones however images are grouped.

Rounding moves the distance between the two largest logits of an image, its margin: by up to tenths in half
precision, by millionths in float32, where it depends on what shares the forward. So whatever is clear by a
wide margin is answered at once, and the rest goes on: half precision, if the network is fast in it -> float32
-> float32 in a forward of its own.
"""

import copy
import logging
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from raysys.oracle import Images, Response
from raysys.teacher.backend import Meter
from raysys.teacher.local import MAX_ROWS

FULL_MARGIN = 1e-4
"""Of the largest logit: a hundred times what float32 rounds away in a network."""
MOST_AGAIN = 1 / 3
"""Where more images than this share must be computed again, half precision gains nothing any more."""
ENOUGH = 2000
"""Images that tell that share."""

_log = logging.getLogger(__name__)

Labels = npt.NDArray[np.int64]


class Network:
    """uint8 images (n, c, h, w) -> float32 logits (n, classes) on the CPU: in `dtype`, `rows` a forward."""

    def __init__(self, module: nn.Module, device: str, dtype: torch.dtype, rows: int) -> None:
        # Channels last: up to 40 % more images a second of a convolution on a CPU.
        self._module = module.to(device, dtype, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.device = device
        self.dtype = dtype
        self.rows = rows

    @torch.inference_mode()
    def __call__(self, images: Images) -> Tensor:
        """See the class."""
        parts = []
        for start in range(0, len(images), self.rows):
            part = torch.tensor(images[start : start + self.rows], device=self.device)
            parts.append(self._module((part.float() / 255).to(self.dtype)).float().cpu())
        return torch.cat(parts)

    def reduced(self, dtype: torch.dtype) -> "Network":
        """A copy that computes in `dtype`."""
        return Network(copy.deepcopy(self._module), self.device, dtype, self.rows)


@dataclass(frozen=True)
class Half:
    """A network in half precision; its label is float32's where its margin is at least `margin`."""

    network: Network
    margin: float


class HardTeacher:
    """A `Backend` that tells labels only: those of `full`, a network in float32. See `local.TorchTeacher`."""

    lanes = 2
    max_rows = MAX_ROWS

    def __init__(self, full: Network, half: Half | None = None) -> None:
        self._full = full
        self._half = half
        self._forward = Lock()
        self._seen = self._again = 0

    def predict(self, images: Images, meter: Meter) -> Response:
        """See `Backend.predict`."""
        meter.sent(0, len(images))
        with self._forward:
            return Response(self._labels(images))

    def close(self) -> None:
        """See `Backend.close`."""

    def _labels(self, images: Images) -> Labels:
        if self._half is None:
            return self._full_labels(images)
        logits = self._half.network(images)
        labels = logits.argmax(dim=1).numpy()
        again = _below(logits, self._half.margin)
        if len(again):
            labels[again] = self._full_labels(images[again])
        self._count(len(images), len(again))
        return labels

    def _full_labels(self, images: Images) -> Labels:
        logits = self._full(images)
        labels: Labels = logits.argmax(dim=1).numpy()
        for row in _below(logits, FULL_MARGIN * logits.abs().amax(dim=1)):
            # Twice: an exported program may refuse a single image.
            labels[row] = int(self._full(images[[row, row]])[0].argmax())
        return labels

    def _count(self, seen: int, again: int) -> None:
        self._seen += seen
        self._again += again
        if self._seen >= ENOUGH and self._again > MOST_AGAIN * self._seen:
            self._half = None
            _log.info("the teacher goes on in float32: too many answers are near ties")


def margins(logits: Tensor) -> Tensor:
    """The distance (n,) between the two largest of each row."""
    top = logits.topk(2).values
    return top[:, 0] - top[:, 1]


def _below(logits: Tensor, least: float | Tensor) -> npt.NDArray[np.int64]:
    """Rows whose margin is not at least that, NaN among them."""
    rows: npt.NDArray[np.int64] = (~(margins(logits) >= least)).nonzero()[:, 0].numpy()
    return rows
