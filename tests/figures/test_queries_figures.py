"""Figures of where queries went: their sums are the tables'."""

import numpy as np
import pyarrow as pa
import pytest
from edge_runs import RUNS, book, build

from raysys.figures.queries import (
    LOOKS,
    rate_alt,
    rate_figure,
    spending_alt,
    spending_figure,
    spread_alt,
    spread_figure,
)
from raysys.store.reader import read_run
from raysys.store.spending import USES, spending, trial_spending
from raysys.teacher.charges import CHARGES, charges_table


def requests(*rows: tuple[float, float | None, int]) -> pa.Table:
    """Requests (second sent, second answered, images); one image of each was sent twice."""
    data = [
        {
            "uid": "u00000",
            "sequence": number,
            "images": images,
            "sent": images + 1,
            "charged": images if answered is not None else 0,
            "attempts": 2,
            "sent_at": int(sent * 1e6),
            "answered_at": None if answered is None else int(answered * 1e6),
        }
        for number, (sent, answered, images) in enumerate(rows)
    ]
    return pa.Table.from_pylist(data, schema=CHARGES)


def test_every_use_has_a_look():
    assert set(LOOKS) == set(USES)


@pytest.mark.parametrize("name", RUNS)
def test_figures_of_every_run_hold_all_queries(name, tmp_path):
    layout = build(tmp_path, name)
    book(layout)
    run, charges = read_run(layout), charges_table(layout.ledger)
    spent, trials = spending(run), trial_spending(run)
    figure = spending_figure(spent, template="plotly_white")
    assert sum(trace.x[0] for trace in figure.data) == run.charged
    assert f"{run.charged:,} queries" in spending_alt(spent)
    spread = spread_figure(trials)
    assert sum(int(trace.y.sum()) for trace in spread.data) == run.trials.num_rows
    assert spread_alt(trials)
    rate = rate_figure(charges)
    minutes = rate.data[0].width / 60_000
    assert (rate.data[0].y * minutes).sum() == pytest.approx(sum(charges["charged"].to_pylist()))
    assert f"{charges.num_rows:,} requests" in rate_alt(charges)


def test_rates_are_images_a_minute_at_their_time():
    figure = rate_figure(requests((0, 1, 10), (600, 660, 50), (1200, None, 7)))
    answered, unanswered = figure.data
    step = answered.width / 1000
    assert step * len(answered.x) >= 1200
    assert len(answered.x) <= 121
    at = [str(moment)[:16] for moment, rate in zip(answered.x, answered.y, strict=True) if rate]
    assert at == ["1970-01-01T00:00", "1970-01-01T00:11"]
    assert answered.y.max() == pytest.approx(50 * 60 / step)
    assert (unanswered.y * step / 60).tolist()[-1] == 8
    assert "60 images" in rate_alt(requests((0, 1, 10), (600, 660, 50)))


def test_a_run_of_many_days_has_few_bars():
    figure = rate_figure(requests((0, 1, 10), (4e7, 4e7 + 1, 20)))
    assert len(figure.data[0].x) <= 121


def test_nothing_was_asked():
    nothing = CHARGES.empty_table()
    assert len(rate_figure(nothing).data[0].x) == 0
    assert "0 images of 0 requests" in rate_alt(nothing)


def test_shares_are_of_known_budgets_only():
    trials = pa.table(
        {"uid": ["a", "b", "c"], "use": ["stopped"] * 3, "charged": [50, 20, 9], "budget": [100, 20, None]}
    )
    figure = spread_figure(trials, "share of budget")
    counts = np.asarray(figure.data[0].y)
    assert counts.sum() == 2
    assert counts[-1] == 1
    assert "2 trials, of 3" in spread_alt(trials, "share of budget")
    assert "none is known" in spread_alt(trials.slice(2), "share of budget")
