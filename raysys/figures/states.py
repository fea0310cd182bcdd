"""How trials ended, in the order of their ends: where failures and early stops cluster."""

import numpy as np
import plotly.graph_objects as go

from raysys.figures.looks import STATES, bar, empty_figure
from raysys.records import TrialStatus
from raysys.store.reader import Snapshot

_MOST_BARS = 50

_SHOWN = (TrialStatus.FINISHED.value, TrialStatus.STOPPED.value, TrialStatus.FAILED.value)
"""What a trial ends with."""


def states_figure(snapshot: Snapshot, template: str | None = None) -> go.Figure:
    """Bars of equally many trials (the last may have fewer), one beside the other, stacked by status."""
    states = _ended(snapshot)
    size = _size(len(states))
    first = np.arange(0, len(states), size)
    last = np.minimum(first + size, len(states))
    figure = empty_figure(template)
    for status in _SHOWN:
        counts = np.add.reduceat((states == status).astype(np.int64), first) if len(first) else first
        if counts.any():
            figure.add_bar(
                name=status,
                x=(first + 1 + last) / 2,
                y=counts,
                width=0.95 * (last - first),
                customdata=np.stack([first + 1, last], axis=1),
                marker=bar(*STATES[status]),
                hovertemplate="%{y} %{fullData.name} of those that ended as number %{customdata[0]:,} to"
                " %{customdata[1]:,}<extra></extra>",
            )
    figure.update_layout(
        barmode="stack",
        xaxis={"title": "trials by order of their end", "tickformat": ",d"},
        yaxis={
            "title": f"of each {size} trials" if size > 1 else "trials",
            "tickformat": ",d",
            "dtick": 1 if size <= 5 else None,
        },
        showlegend=True,
    )
    return figure


def states_alt(snapshot: Snapshot) -> str:
    """What the figure shows, in words."""
    states = _ended(snapshot)
    told = ", ".join(f"{(states == status).sum()} {status}" for status in _SHOWN)
    return f"How {len(states)} trials ended, {_size(len(states))} a bar: {told}."


def _ended(snapshot: Snapshot) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    status = snapshot.trials["status"].to_numpy()
    return np.asarray(status[np.isin(status, _SHOWN)])


def _size(ended: int) -> int:
    return max(1, -(-ended // _MOST_BARS))
