"""Where the queries went, when they were answered, and how they are spread over the trials."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import pyarrow as pa

from raysys.figures.looks import AMBER, BLUE, GREY, ORANGE, SKY, STATES, empty_figure
from raysys.records import EVALUATION, TrialStatus
from raysys.store.points import floats
from raysys.store.spending import ELSEWHERE, OFF_FRONT, ON_FRONT, UNREPORTED

Spread = Literal["queries", "share of budget"]

LOOKS = {
    ON_FRONT: (BLUE, ""),
    OFF_FRONT: (SKY, ""),
    **{status: looks for status, looks in STATES.items() if status != TrialStatus.FINISHED},
    EVALUATION: (AMBER, ""),
    UNREPORTED: (AMBER, ""),
    ELSEWHERE: (GREY, "|"),
}
"""Colour of each use of queries; what bought nothing, or nothing yet, is hatched."""

_MOST_BINS, _TRIAL_BINS = 120, 30
_STEPS = np.array([1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400])


def spending_figure(spent: pa.Table, template: str | None = None) -> go.Figure:
    """One bar of all queries charged, stacked by their use: a table of `spending`."""
    figure = empty_figure(template)
    for row in spent.to_pylist():
        figure.add_bar(
            name=row["use"],
            orientation="h",
            y=["charged"],
            x=[row["charged"]],
            text=[f"{row['share']:.0%}"],
            textposition="inside",
            insidetextanchor="middle",
            marker=_marker(row["use"]),
            hovertemplate="%{x:,} queries<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(
        barmode="stack",
        height=210,
        xaxis={"title": "teacher queries (images)", "tickformat": ","},
        yaxis={"visible": False},
        legend_traceorder="normal",
        margin={"l": 20, "r": 20, "t": 60, "b": 50},
        uniformtext={"mode": "hide", "minsize": 9},
    )
    return figure


def spending_alt(spent: pa.Table) -> str:
    """What the figure shows, in words."""
    rows = spent.to_pylist()
    told = ", ".join(f"{row['use']} {row['charged']:,} ({row['share']:.0%})" for row in rows)
    return f"Where {sum(row['charged'] for row in rows):,} queries went: {told or 'nothing was asked yet'}."


def rate_figure(charges: pa.Table, template: str | None = None) -> go.Figure:
    """Images a minute over time, of a ledger's requests: answered, and sent without getting an answer."""
    start, step, answered, unanswered = _rates(charges)
    moments = (1e3 * (start + step * (np.arange(len(answered)) + 0.5))).astype("datetime64[ms]")
    figure = empty_figure(template)
    for name, images, looks in (
        ("answered", answered, (BLUE, "")),
        ("sent, no answer", unanswered, (ORANGE, "x")),
    ):
        if name == "answered" or images.any():
            figure.add_bar(
                name=name,
                x=moments,
                y=60 * images / step,
                width=1e3 * step,
                marker=_filled(*looks),
                hovertemplate="%{y:,.0f} images a minute<br>%{x}<extra>%{fullData.name}</extra>",
            )
    figure.update_layout(
        barmode="stack",
        height=320,
        showlegend=True,
        xaxis={"title": f"time (UTC), in steps of {_duration(step)}", "type": "date"},
        yaxis={"title": "images a minute", "tickformat": ",", "rangemode": "tozero"},
        legend_traceorder="normal",
    )
    return figure


def rate_alt(charges: pa.Table) -> str:
    """What the figure shows, in words."""
    _, step, answered, unanswered = _rates(charges)
    return (
        f"Images a minute over time: {answered.sum():,.0f} images of {charges.num_rows:,} requests answered,"
        f" {unanswered.sum():,.0f} sent without an answer, in {len(answered)} steps of {_duration(step)};"
        f" at most {60 * answered.max(initial=0) / step:,.0f} a minute."
    )


def spread_figure(trials: pa.Table, what: Spread = "queries", template: str | None = None) -> go.Figure:
    """How many trials were charged how much: histograms by use, of a table of `trial_spending`."""
    values, uses = _values(trials, what)
    edges = np.histogram_bin_edges(values, bins=_TRIAL_BINS, range=(0, max(1.0, values.max(initial=0))))
    figure = empty_figure(template)
    for use in (use for use in LOOKS if (uses == use).any()):
        figure.add_bar(
            name=use,
            x=(edges[:-1] + edges[1:]) / 2,
            y=np.histogram(values[uses == use], edges)[0],
            width=np.diff(edges),
            marker=_marker(use),
            hovertemplate="%{y:,} trials<extra>%{fullData.name}</extra>",
        )
    shares = what == "share of budget"
    figure.update_layout(
        barmode="stack",
        height=320,
        showlegend=True,
        xaxis={
            "title": "share of the trial's budget that was charged" if shares else "queries of a trial",
            "tickformat": ".0%" if shares else ",",
        },
        yaxis={"title": "trials", "tickformat": ",d"},
        legend_traceorder="normal",
    )
    return figure


def spread_alt(trials: pa.Table, what: Spread = "queries") -> str:
    """What the figure shows, in words."""
    values, _ = _values(trials, what)
    if not len(values):
        return f"Histogram of the {what} of each trial; none is known."
    number = "{:.0%}" if what == "share of budget" else "{:,.0f}"
    low, middle, high = (number.format(value) for value in np.quantile(values, (0, 0.5, 1)))
    return (
        f"Histogram of the {what} of {len(values):,} trials, of {trials.num_rows:,}: "
        f"median {middle}, from {low} to {high}."
    )


def _values(trials: pa.Table, what: Spread) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.object_]]:
    """What is counted, of the trials where it is known, and their uses."""
    charged, budgets = floats(trials, "charged"), floats(trials, "budget")
    values = charged if what == "queries" else charged / budgets
    known = np.isfinite(values)
    return values[known], np.array(trials["use"].to_pylist(), dtype=object)[known]


def _rates(charges: pa.Table) -> tuple[float, int, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Start and step (s) of equal times, and the images in each: answered, and sent in vain."""
    sent_at, answered_at = (_seconds(charges, name) for name in ("sent_at", "answered_at"))
    told = np.concatenate([sent_at, answered_at])
    told = told[np.isfinite(told)]
    if not len(told):
        return 0.0, 1, np.zeros(0), np.zeros(0)
    start, span = float(np.floor(told.min())), float(np.ptp(told))
    wide = _STEPS[np.searchsorted(_STEPS, span / _MOST_BINS).clip(max=len(_STEPS) - 1)]
    step = int(max(wide, -(-span // _MOST_BINS)))
    bins = int((told.max() - start) // step) + 1

    def summed(moments: npt.NDArray[np.float64], images: npt.NDArray[np.float64]) -> Any:
        known = np.isfinite(moments)
        return np.bincount(((moments[known] - start) // step).astype(np.int64), images[known], bins)

    charged, sent = floats(charges, "charged"), floats(charges, "sent")
    return start, step, summed(answered_at, charged), summed(sent_at, np.maximum(sent - charged, 0))


def _seconds(charges: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """Moments as seconds since 1970, NaN where there is none."""
    return floats(charges.set_column(0, "at", charges[name].cast(pa.int64())), "at") / 1e6


def _marker(use: str) -> dict[str, Any]:
    return _filled(*LOOKS[use])


def _filled(colour: str, hatch: str) -> dict[str, Any]:
    pattern = {"shape": hatch, "fillmode": "overlay", "solidity": 0.2, "size": 9}
    return {"color": colour, "line": {"width": 0}, "pattern": pattern}


def _duration(seconds: int) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
