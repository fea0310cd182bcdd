"""The curves of a run's trials: what they had reached after how many steps, queries or seconds.

Milestones are left out: they are of another student than the one that is being trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raysys.fronts.objectives import TESTED, Floats
from raysys.store.points import floats
from raysys.store.reader import Snapshot
from raysys.store.schema import LOSS

AXES = ("queries", "step", "seconds")
"""What curves may go over."""

GAP = "gap"
"""Val accuracy less agreement with the teacher: how much better the student knows the labels than it."""

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_GRID = 100
"""Points of the grid of `bands`, at most."""

NEAR = 0.01
"""A score this close to the best one, in [0, 1], is as good."""


@dataclass(frozen=True)
class Curves:
    """Curves of the trials `uids`, one after the other: that of number i is the rows `ends[i]:ends[i + 1]`.

    `x`, `y` (rows,) float64; `x` rises within a trial. `excluded` counts reports without a finite `y`.
    """

    uids: tuple[str, ...]
    ends: npt.NDArray[np.int64]
    x: Floats
    y: Floats
    excluded: int

    def of(self, number: int) -> tuple[Floats, Floats]:
        """The curve of the trial `uids[number]`."""
        rows = slice(self.ends[number], self.ends[number + 1])
        return self.x[rows], self.y[rows]


def curve_columns(snapshot: Snapshot) -> list[str]:
    """What the run's curves may show: the score first, then what else has values, losses last."""
    reports, score = snapshot.reports, snapshot.manifest.score
    known = [name for name in TESTED if reports[name].null_count < reports.num_rows]
    losses = [name for name in reports.column_names if name.startswith(LOSS)]
    gap = [GAP] if len(known) == len(TESTED) else []
    return [score, *(name for name in known if name != score), *gap, *losses]


def read_curves(snapshot: Snapshot, x: str, y: str, uids: Sequence[str] | None = None) -> Curves:
    """The curves of `y` (one of `curve_columns`) over `x` (one of `AXES`), of all trials or of `uids`."""
    rows = snapshot.reports
    if uids is not None:
        rows = rows.filter(pc.is_in(rows["uid"], pa.array(uids, pa.string())))
    named = rows["uid"].combine_chunks().dictionary_encode()
    codes = np.asarray(named.indices, dtype=np.int64)
    value = floats(rows, "val_accuracy") - floats(rows, "agreement") if y == GAP else floats(rows, y)
    good = ~np.asarray(rows["milestone"])
    excluded = int((good & ~np.isfinite(value)).sum())
    keep = np.flatnonzero(good & np.isfinite(value))
    codes = codes[keep]
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    names = named.dictionary.take(pa.array(codes[first])).to_pylist()
    return Curves(tuple(names), np.append(first, len(codes)), floats(rows, x)[keep], value[keep], excluded)


@dataclass(frozen=True)
class Bands:
    """Quantiles over the trials at each point of a grid.

    `grid` (g,); `quantiles` (5, g) are those of `QUANTILES`; `n` (g,) trials that have come so far and have
    not ended before; `trials` with any value; `excluded` reports without a finite one.
    """

    grid: Floats
    quantiles: Floats
    n: npt.NDArray[np.int64]
    trials: int
    excluded: int


def bands(snapshot: Snapshot, x: str, y: str) -> Bands:
    """Quantile bands of all trials; a trial has at a point what it had reported last by then."""
    curves = read_curves(snapshot, x, y)
    grid = _grid(curves.x, x)
    values = _held(curves, grid)
    values.sort(axis=0)  # NaN goes to the end
    n = np.isfinite(values).sum(axis=0)
    at = np.outer(QUANTILES, np.maximum(n - 1, 0))
    low = np.floor(at).astype(np.int64)
    columns = np.arange(len(grid))
    below, above = values[low, columns], values[np.minimum(low + 1, np.maximum(n - 1, 0)), columns]
    quantiles = below + (at - low) * (above - below)
    told = n > 0
    return Bands(grid[told], quantiles[:, told], n[told], len(curves.uids), curves.excluded)


def moving_median(y: Floats, window: int) -> Floats:
    """The median of the `window` (odd) values around each of `y` (n,); fewer at the ends."""
    padded = np.pad(y, window // 2, constant_values=np.nan)
    return np.asarray(np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1))


def plateaus(snapshot: Snapshot, uids: Sequence[str]) -> pa.Table:
    """One row for each of `uids` with reports: how it ended, and when it could have ended.

    `last` and `best` score on val in [0, 1] over its reports; `near best at`: the first queries at which it
    was within `NEAR` of the best; `queries` of its last report; `spare`: the share of them in between.
    """
    score = snapshot.manifest.score
    curves = read_curves(snapshot, "queries", score, uids)
    rows = []
    for number, uid in enumerate(curves.uids):
        queries, reached = curves.of(number)
        near = queries[np.argmax(reached >= reached.max() - NEAR)]
        rows.append(
            {
                "uid": uid,
                "last": reached[-1],
                "best": reached.max(),
                "near best at": int(near),
                "queries": int(queries[-1]),
                "spare": 1 - near / queries[-1] if queries[-1] else 0.0,
            }
        )
    types = [("uid", pa.string()), ("last", pa.float64()), ("best", pa.float64())]
    types += [("near best at", pa.int64()), ("queries", pa.int64()), ("spare", pa.float64())]
    return pa.Table.from_pylist(rows, schema=pa.schema(types))


def sparklines(snapshot: Snapshot, uids: Sequence[str], points: int = 12) -> pa.Array:
    """The score of each of `uids` over its reports, `points` of them at most, evenly: a list for each."""
    curves = read_curves(snapshot, "step", snapshot.manifest.score, uids)
    sizes = np.diff(curves.ends)
    steps = np.minimum(sizes, points)
    ends = np.append(0, np.cumsum(steps))
    place = np.arange(ends[-1]) - np.repeat(ends[:-1], steps)
    share = place / np.maximum(np.repeat(steps, steps) - 1, 1)
    at = np.repeat(curves.ends[:-1], steps) + np.rint(share * (np.repeat(sizes, steps) - 1)).astype(np.int64)
    lists = pa.ListArray.from_arrays(ends.astype(np.int32), pa.array(curves.y[at]))
    rows = pc.index_in(pa.array(uids, pa.string()), pa.array(curves.uids, pa.string()))
    return lists.take(rows)


def _grid(x: Floats, axis: str) -> Floats:
    """Where the bands are told: whole steps, or points even on the scale on which `axis` is drawn."""
    if not len(x):
        return np.empty(0)
    low, high = x.min(), x.max()
    if axis == "queries":
        return np.geomspace(max(low, 1), max(high, 1), _GRID)
    count = min(_GRID, int(high - low) + 1) if axis == "step" else _GRID
    grid = np.linspace(low, high, count)
    return np.rint(grid) if axis == "step" else grid


def _held(curves: Curves, grid: Floats) -> Floats:
    """What each trial had reported last, (trials, g); NaN before its first report and after its last."""
    trials, size = len(curves.uids), len(grid)
    first = np.searchsorted(grid, curves.x * (1 - 1e-12), "left")  # rounding must not lose a grid's own end
    owner = np.repeat(np.arange(trials), np.diff(curves.ends))
    latest = np.full((trials, size), -1, dtype=np.int64)
    inside = first < size
    latest[owner[inside], first[inside]] = np.flatnonzero(inside)  # of several reports the last one stays
    latest = np.maximum.accumulate(latest, axis=1)
    ended = np.arange(size) > np.minimum(first[curves.ends[1:] - 1], size - 1)[:, np.newaxis]
    return np.where((latest < 0) | ended, np.nan, np.append(curves.y, np.nan)[latest])
