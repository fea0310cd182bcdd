"""Fixed, stratified splits and choices."""

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


def stratified_choice(labels: npt.NDArray[np.int64], count: int, seed: int = 0) -> Indices:
    """Sorted indices of `count` of `labels` (n,), or of all if there are fewer.

    Each class has its share, but for rounding; a smaller choice is part of a larger one.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    position = np.empty(len(labels))  # of an image in its class, in [0, 1]
    for label in np.unique(labels):
        members = order[labels[order] == label]
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(order[np.argsort(position[order], kind="stable")][:count])


def split_val_test(
    labels: npt.NDArray[np.int64], seed: int = 0, most: int | None = None
) -> tuple[Indices, Indices]:
    """The teacher's test set in two halves: val, which the search sees, and test, looked at once.

    Of a larger set `most` images are chosen, both halves together.
    """
    val, test = stratified_split(labels, 0.5, seed)
    if most is not None and most < len(labels):
        val = val[stratified_choice(labels[val], most // 2, seed)]
        test = test[stratified_choice(labels[test], most - most // 2, seed)]
    return val, test
