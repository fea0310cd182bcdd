"""When a teacher says the same to everything: more questions would only spend the budget."""

from typing import Any

import numpy as np

from raysys.oracle import Response

SHARE = 0.99
"""Answers of one class, as a share, that tell nothing any more."""
IMAGES = 500
"""Answers that must show it, at least."""
PATIENCE = 0.1
"""Share of the query budget that must show it: a generator needs more time where the budget gives it more."""
REQUESTS = 2
"""Requests that must show it: a method may learn from the first."""


class CollapseDetector:
    """Counts the classes of the latest answers.

    Requests are taken together for as long as one class has `SHARE` of all their answers; one that ends
    this starts anew. The teacher's answers have collapsed when at least `REQUESTS` requests are taken so, and
    their images are at least `IMAGES` and at least `PATIENCE` of the budget.
    """

    def __init__(self, num_classes: int, query_budget: int) -> None:
        self._least = max(IMAGES, PATIENCE * query_budget)
        self._counts = np.zeros(num_classes, np.int64)
        self._requests = 0

    def saw(self, response: Response) -> None:
        """Take the answer to one request."""
        new = np.bincount(response.labels, minlength=len(self._counts))
        both = self._counts + new
        if both.max() >= SHARE * both.sum():
            self._counts, self._requests = both, self._requests + 1
        elif new.max() >= SHARE * new.sum():
            self._counts, self._requests = new, 1
        else:
            self._counts, self._requests = np.zeros_like(new), 0

    @property
    def note(self) -> str:
        """What has collapsed, or nothing."""
        images = int(self._counts.sum())
        if images < self._least or self._requests < REQUESTS:
            return ""
        top = int(self._counts.argmax())
        share = self._counts[top] / images
        return f"collapsed: the teacher answered class {top} to {share:.1%} of the last {images:,} images"

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {"counts": self._counts.tolist(), "requests": self._requests}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from saved counts."""
        self._counts, self._requests = np.array(state["counts"], np.int64), state["requests"]
