"""Fixed, stratified splits."""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def stratified_split(labels: npt.NDArray[np.int64], share: float, seed: int = 0) -> tuple[Indices, Indices]:
    """Indices of about `share` of every class, and the indices of the rest; both sorted and disjoint.

    `labels` (n,); `share` in [0, 1]. The split depends on `labels`, `share` and `seed` only.
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(share * len(members))]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def split_val_test(labels: npt.NDArray[np.int64], seed: int = 0) -> tuple[Indices, Indices]:
    """The teacher's test set in two halves: val, which the search sees, and test, looked at once."""
    return stratified_split(labels, 0.5, seed)
