"""What an API hides of its probabilities: all but the largest, or their last digits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raysys.oracle import Images, Response
from raysys.teacher.backend import Backend, Meter

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LimitedTeacher:
    """A backend that tells only the `top_k` largest probabilities (None: all), rounded to `decimals`."""

    inner: Backend
    top_k: int | None
    decimals: int | None

    @property
    def lanes(self) -> int:
        """See `Backend`."""
        return self.inner.lanes

    @property
    def max_rows(self) -> int:
        """See `Backend`."""
        return self.inner.max_rows

    def predict(self, images: Images, meter: Meter) -> Response:
        """See `Backend.predict`."""
        response = self.inner.predict(images, meter)
        if response.probabilities is None:
            return response
        return Response(response.labels, limited(response.probabilities, self.top_k, self.decimals))

    def close(self) -> None:
        """See `Backend.close`."""
        self.inner.close()


def limited(probabilities: Probabilities, top_k: int | None, decimals: int | None) -> Probabilities:
    """What a caller can know of probabilities (n, K): the told ones, the rest shared evenly by the others.

    No hidden one is above a told one. Rows sum to 1 up to rounding.
    """
    classes = probabilities.shape[1]
    told = probabilities.astype(np.float64)
    if decimals is not None:
        told = told.round(decimals)
    if top_k is not None and top_k < classes:
        order = np.argsort(-probabilities, axis=1, kind="stable")
        smallest, hidden = np.take_along_axis(told, order[:, top_k - 1 : top_k], axis=1), order[:, top_k:]
        np.put_along_axis(told, hidden, 0.0, axis=1)
        rest = (1 - told.sum(axis=1, keepdims=True)).clip(min=0) / (classes - top_k)
        np.put_along_axis(told, hidden, np.minimum(rest, smallest), axis=1)
    told[told.sum(axis=1) == 0] = 1 / classes  # all rounded away: nothing is known
    return np.asarray(told / told.sum(axis=1, keepdims=True), dtype=np.float32)
