"""What early stopping saves, and what it would take from the front: stored real trials, told once more.

    python tests/benchmarks/stopping.py --on digits,mnist

The trials of the landscapes (see `landscape.py`) go through `QueryAsha` one after the other, in random
orders. Beside it: how well the score at a milestone tells the order of the final ones (Spearman's rank
correlation), of what the trial reports there, and of the student that it is training at that moment.
"""

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq
from landscape import FOLDER
from scipy.stats import spearmanr

from raysys.fronts.hypervolume import Reference, hypervolume, scaled_costs
from raysys.search.query_asha import QueryAsha, milestones

ORDERS = 20
FEWEST = 10
"""Trials that a correlation needs."""


def replay(
    rows: Sequence[dict[str, Any]], rungs: tuple[int, ...], order: int
) -> tuple[int, list[tuple[int, float]]]:
    """Queries spent, and the points of the trials that finished, where trials come in this order."""
    asha, spent, points = QueryAsha(rungs), 0, []
    for number, row in enumerate(random.Random(order).sample(rows, len(rows))):
        uid, budget = f"u{number:05d}", int(json.loads(row["values"])["query_budget"])
        *on_the_way, (queries, score) = zip(row["queries"], row["score"], strict=True)
        for at, reached in on_the_way:
            decision = asha.report(uid, budget, at, reached, True)
            if decision is not None and not decision.goes_on:
                spent += at
                break
        else:
            asha.ended(uid, queries, score)
            spent += queries
            points.append((queries, score))
    return spent, points


def saved(rows: Sequence[dict[str, Any]], rungs: tuple[int, ...], reference: Reference) -> str:
    """What was saved and lost over all orders, for a person."""
    whole = [(row["queries"][-1], row["score"][-1]) for row in rows]
    all_queries = sum(queries for queries, _ in whole)
    shares, volumes = [], []
    for order in range(ORDERS):
        spent, points = replay(rows, rungs, order)
        shares.append(1 - spent / all_queries)
        volumes.append(hypervolume(scaled_costs(*zip(*points, strict=True), reference)))
    before = hypervolume(scaled_costs(*zip(*whole, strict=True), reference))
    return (
        f"{statistics.mean(shares):.0%} of {all_queries:,} queries saved; hypervolume {before:.4f},"
        f" then {statistics.mean(volumes):.4f} +- {statistics.stdev(volumes):.4f}"
    )


def correlations(rows: Sequence[dict[str, Any]], at: int) -> str | None:
    """Of trials that are judged at this milestone, for a person."""
    kept = [row for row in rows if at in row["queries"][:-1] and 2 * at <= row["queries"][-1]]
    if len(kept) < FEWEST:
        return None
    final = [row["score"][-1] for row in kept]
    reported = [row["score"][row["queries"].index(at)] for row in kept]
    training = [row["in_training"][row["queries"].index(at)] or 0.0 for row in kept]
    one, other = (spearmanr(values, final).statistic for values in (reported, training))
    return f"at {at} queries, {len(kept)} trials: reported {one:.2f}, in training {other:.2f}"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--on", default="digits,mnist")
    for name in parser.parse_args().on.split(","):
        table = pq.read_table(FOLDER / f"{name}.parquet")
        assert table.schema.metadata is not None
        budgets = json.loads(table.schema.metadata[b"space"])["parameters"]["query_budget"]
        rows, rungs = table.to_pylist(), milestones(budgets["low"], budgets["high"])
        print(f"{name}, {len(rows)} trials: {saved(rows, rungs, Reference(0.1, budgets['high']))}")
        for line in filter(None, (correlations(rows, at) for at in rungs)):
            print(f"    {line}")


if __name__ == "__main__":
    main()
