"""How sure a difference of two means is: a percentile bootstrap (Efron 1979)."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


def difference_interval(
    values: Sequence[float], others: Sequence[float], paired: bool, seed: int = 0
) -> tuple[float, float]:
    """The interval in which 95 % of resampled differences mean(values) - mean(others) lie, of 10,000.

    `paired`: values and others (n,) belong together one by one, and pairs are drawn; else each (n,), (m,) is
    drawn by itself. The same `seed` gives the same interval. Of a handful of values it is too narrow: it
    cannot reach beyond the values themselves. Raises ValueError where there are none, or no pairs.
    """
    first, second = np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if not len(first) or not len(second) or (paired and len(first) != len(second)):
        raise ValueError(f"needs values, paired ones as many: got {len(first)} and {len(second)}")
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(first), size=(RESAMPLES, len(first)))
    columns = rows if paired else rng.integers(len(second), size=(RESAMPLES, len(second)))
    drawn = first[rows].mean(axis=1) - second[columns].mean(axis=1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
