"""Where the time of a run's trials went."""

import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.records import PARTS
from raysys.store.schema import SECONDS


def seconds_by(reports: pa.Table) -> dict[str, float]:
    """Seconds by part (`records.PARTS`) of all trials with a row in `reports`, as of `Snapshot`, by last row.

    A part that no trial tells is left out.
    """
    uids = reports["uid"].combine_chunks().dictionary_encode().indices.to_numpy()
    last = reports.take(np.flatnonzero(np.diff(uids, append=-1)))
    told = {part: pc.sum(last[name]).as_py() for part, name in zip(PARTS, SECONDS, strict=True)}
    return {part: seconds for part, seconds in told.items() if seconds is not None and math.isfinite(seconds)}


def shares(seconds: Mapping[str, float]) -> str:
    """As in `41 % generate, 30 % train`, the most first; parts below half a percent are left out."""
    whole = sum(seconds.values())
    told = sorted(seconds.items(), key=lambda item: -item[1]) if whole > 0 else []
    return ", ".join(f"{took / whole:.0%} {part}" for part, took in told if took / whole >= 0.005)
