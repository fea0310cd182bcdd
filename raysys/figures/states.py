"""How trials ended, in the order of their ends: where failures and early stops cluster."""

import numpy as np
import plotly.graph_objects as go

from raysys.figures.front import BLUE, GREY, ORANGE
from raysys.records import TrialStatus
from raysys.store.reader import Snapshot

_MOST_BARS = 50

_LOOKS = {
    TrialStatus.FINISHED: (BLUE, ""),
    TrialStatus.STOPPED: (GREY, "/"),
    TrialStatus.FAILED: (ORANGE, "x"),
}
"""Colour and hatch of each status that a trial ends with."""


def states_figure(snapshot: Snapshot, template: str | None = None) -> go.Figure:
    """Bars of equally many trials (the last may have fewer), one beside the other, stacked by status."""
    states = _ended(snapshot)
    size = _size(len(states))
    first = np.arange(0, len(states), size)
    last = np.minimum(first + size, len(states))
    figure = go.Figure(layout={"template": template} if template else None)
    for status, (colour, hatch) in _LOOKS.items():
        counts = np.add.reduceat((states == status.value).astype(np.int64), first) if len(first) else first
        if counts.any():
            figure.add_bar(
                name=status.value,
                x=(first + 1 + last) / 2,
                y=counts,
                width=0.95 * (last - first),
                customdata=np.stack([first + 1, last], axis=1),
                marker={"color": colour, "line": {"width": 0}, "pattern": {"shape": hatch, "solidity": 0.4}},
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
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        margin={"l": 60, "r": 20, "t": 40, "b": 60},
        showlegend=True,
    )
    return figure


def states_alt(snapshot: Snapshot) -> str:
    """What the figure shows, in words."""
    states = _ended(snapshot)
    told = ", ".join(f"{(states == status.value).sum()} {status}" for status in _LOOKS)
    return f"How {len(states)} trials ended, {_size(len(states))} a bar: {told}."


def _ended(snapshot: Snapshot) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    status = snapshot.trials["status"].to_numpy()
    return np.asarray(status[np.isin(status, [one.value for one in _LOOKS])])


def _size(ended: int) -> int:
    return max(1, -(-ended // _MOST_BARS))
