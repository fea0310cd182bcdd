"""What early stopping did at each milestone."""

import plotly.graph_objects as go
import pyarrow as pa

from raysys.figures.looks import BLUE, GREY, bar, empty_figure


def rungs_figure(rungs: pa.Table, template: str | None = None) -> go.Figure:
    """Trials that went on and that were stopped at each milestone (`raysys.store.convergence.rungs`)."""
    figure = empty_figure(template)
    most = max(rungs["reached"].to_pylist(), default=0)
    milestones = [f"{queries:,}" for queries in rungs["milestone"].to_pylist()]
    for name, column, colour, hatch in (("went on", "went_on", BLUE, ""), ("stopped", "stopped", GREY, "/")):
        counts = rungs[column].to_numpy()
        figure.add_bar(
            name=name,
            x=milestones,
            y=counts,
            customdata=counts / rungs["reached"].to_numpy(),
            marker=bar(colour, hatch),
            hovertemplate="%{y:,} of those that came to %{x} queries (%{customdata:.0%})"
            "<extra>%{fullData.name}</extra>",
        )
    return figure.update_layout(
        barmode="stack",
        xaxis={"title": "milestone (queries of a trial)", "type": "category"},
        yaxis={"title": "trials that reached it", "tickformat": ",d", "dtick": 1 if most < 10 else None},
        showlegend=True,
    )


def rungs_alt(rungs: pa.Table) -> str:
    """What the figure shows, in words."""
    told = ", ".join(
        f"{row['went_on']} of {row['reached']} at {row['milestone']:,} queries" for row in rungs.to_pylist()
    )
    return f"Trials that early stopping let go on at {rungs.num_rows} milestones: {told}."
