"""The one thing a method knows of the teacher: images in, response out, or `BudgetExhausted`."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
"""uint8 images (n, c, h, w): what an API would accept."""


@dataclass(frozen=True)
class Response:
    """The teacher's answer to n images.

    `labels` int64 (n,), the top-1 class. `probabilities` float32 (n, classes), or None when the
    teacher is `hard`.
    """

    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class BudgetExhausted:
    """The whole request was refused: it would pass a budget. Nothing was charged.

    `remaining` is how many images may still be asked.
    """

    remaining: int


class Oracle(Protocol):
    """A black-box teacher as one attempt of a trial sees it; only the newest attempt gets answers.

    `sequence` numbers the trial's requests 0, 1, 2, ... in a reproducible order. A repeated request
    (same sequence, same images) returns the recorded answer and is not charged again; the same
    sequence with other images raises: it is a bug. Either all n images are charged, or none.
    """

    @property
    def epoch(self) -> int:
        """The attempt's number: 0, 1, ... in the order in which they began; some numbers may be left out."""
        ...

    def ask(self, images: Images, sequence: int) -> Response | BudgetExhausted:
        """Answer `images`, uint8 (n, c, h, w), n >= 1."""
        ...
