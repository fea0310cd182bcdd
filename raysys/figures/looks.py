"""What figures have in common: colours, hatches, symbols, and an empty frame.

Colours of text and paper are left to the theme. What may hold markup goes through `plain`.
"""

import html
from typing import Any

import plotly.graph_objects as go

from raysys.records import TrialStatus

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#888888"
AMBER, GREEN, SKY, PINK = "#E69F00", "#009E73", "#56B4E9", "#CC79A7"
"""Colours that everyone can tell apart (Okabe and Ito), in light and dark themes."""

RUNS = (BLUE, AMBER, GREEN, SKY, "#882255", "#999933", "#CC6677", "#44AA99", "#AA4499")
"""Colours of runs or searches, the picked one first; dash and symbol differ, too."""

_LONG_DASHES = ("longdash", "longdashdot", "12px 3px 3px 3px", "2px 6px", "16px 8px")
DASHES = ("solid", "dash", "dot", "dashdot", *_LONG_DASHES)
SYMBOLS = ("circle", "square", "triangle-up", "cross", "x", "star", "pentagon", "triangle-down", "hexagon")

STATES = {
    TrialStatus.FINISHED.value: (BLUE, ""),
    TrialStatus.STOPPED.value: (GREY, "/"),
    TrialStatus.FAILED.value: (ORANGE, "x"),
    TrialStatus.INTERRUPTED.value: (PINK, "\\"),
    TrialStatus.RUNNING.value: (GREEN, "-"),
    TrialStatus.PENDING.value: (AMBER, "+"),
}
"""Colour and hatch of the bars of each status."""

LEGEND: dict[str, Any] = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0}


def empty_figure(template: str | None, **layout: Any) -> go.Figure:
    """A figure with its legend above it; `template` is that of a file, None leaves it to the theme."""
    figure = go.Figure(layout={"template": template} if template else None)
    usual = {"legend": LEGEND, "margin": {"l": 70, "r": 20, "t": 40, "b": 60}, "hovermode": "closest"}
    return figure.update_layout(usual | layout)


def colour(number: int) -> str:
    """That of run `number`."""
    return RUNS[number % len(RUNS)]


def faint(number: int) -> str:
    """The colour of run `number` for a band, through which others show."""
    return f"rgba{(*bytes.fromhex(colour(number)[1:]), 0.2)}"


def dash(number: int) -> str:
    """That of the line of run `number`."""
    return DASHES[number % len(DASHES)]


def symbol(number: int) -> str:
    """That of the points of run `number`."""
    return SYMBOLS[number % len(SYMBOLS)]


def bar(colour: str, hatch: str) -> dict[str, Any]:
    """The marker of a bar."""
    return {"color": colour, "line": {"width": 0}, "pattern": {"shape": hatch, "solidity": 0.4}}


def text(column: str) -> str:
    """A column's name in words."""
    return column.replace("_", " ")


def plain(name: str) -> str:
    """Text of a run that plotly shall not take for markup."""
    return html.escape(name)
