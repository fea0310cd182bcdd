"""Write a run of any size as the product would leave it, for looking at and for `dashboard_pages.py`.

python tests/benchmarks/dashboard_run.py FOLDER [--trials 10000] [--reports 100] [--per-config 1]
                                         [--ledger] [--seed 0]
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where pytest finds the builders

from edge_runs import manifest

from raysys.fronts.hypervolume import Reference
from raysys.oracle import Response
from raysys.records import EVALUATION, TrialConfig, TrialRecord, TrialStatus
from raysys.space.load import to_json
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import write_manifest
from raysys.store.reader import reports_of, trials_of
from raysys.store.schema import SECONDS, trials_table
from raysys.teacher.journal import open_journal
from raysys.teacher.ledger import Charge, RequestKey

LEAST, MOST = 500, 50_000
"""Query budgets of the trials, spread evenly over their logarithm."""

PARAMETERS, LOSSES = 30, ("cross_entropy", "distillation", "diversity")

REQUESTS = 10
"""Requests of a trial in the ledger."""

ENDS = {TrialStatus.FINISHED: 0.75, TrialStatus.STOPPED: 0.2, TrialStatus.FAILED: 0.05}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the run's folder, which must not be there yet")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--reports", type=int, default=100, help="of each trial")
    parser.add_argument("--per-config", type=int, default=1, help="trials that differ by their seed only")
    parser.add_argument("--ledger", action="store_true", help=f"{REQUESTS} requests of each trial, too")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    given = (arguments.trials, arguments.reports, arguments.per_config, arguments.ledger, arguments.seed)
    write_large_run(arguments.folder, *given)


def write_large_run(
    root: Path, trials: int, reports: int, per_config: int = 1, ledger: bool = False, seed: int = 0
) -> RunLayout:
    """A finished run with so many trials and reports of each; the same arguments give the same tables."""
    rng = np.random.default_rng(seed)
    layout = RunLayout(root)
    records = _trials(rng, trials, per_config)
    charged = sum(record.queries for record in records)
    write_manifest(
        layout,
        manifest(
            space=to_json(_space(trials)), trials=trials, seeds=per_config, seed=seed,
            charged=charged, executed=charged, reference=Reference(accuracy=0.1, queries=MOST),
        ),
    )  # fmt: skip
    reports_of(layout).append(_reports(rng, records, reports), 1)
    trials_of(layout).append(trials_table(records), 1)
    if ledger:
        _book(layout, rng, records)
    return layout


def _trials(rng: np.random.Generator, count: int, per_config: int) -> list[TrialRecord]:
    states = rng.choice([status.value for status in ENDS], count, p=list(ENDS.values()))
    budgets = np.rint(np.exp(rng.uniform(math.log(LEAST), math.log(MOST), count))).astype(int)
    records = []
    for number in range(count):
        recipe = np.random.default_rng([number // per_config, 1])
        budget = int(budgets[number - number % per_config])
        options = {"query_budget": budget, **_options(recipe)}
        own = TrialConfig(f"u{number:05d}", "ideal", "hard", "lenet5", number, options)
        status = TrialStatus(states[number])
        spent = budget if status is TrialStatus.FINISHED else int(budget * rng.uniform(0.1, 0.9))
        noise, failed = rng.normal(0, 0.03, 4), status is TrialStatus.FAILED
        reached = 0.5 + 0.22 * math.log10(spent / 100) - 2 * (recipe.random() - 0.5) ** 2
        values = [None if failed else float(np.clip(reached + off, 0.05, 0.995)) for off in noise]
        records.append(
            TrialRecord(
                own.uid, 1, status, own, queries=spent, val_accuracy=values[0], agreement=values[1],
                test_accuracy=values[2] if number % 50 == 0 else None,
                test_agreement=values[3] if number % 50 == 0 else None,
                seconds=spent / 400 * float(rng.uniform(0.8, 1.2)),
                error=f"RuntimeError: kind {number % 4}\n  trial.py, line {number}" if failed else "",
            )
        )  # fmt: skip
    return records


def _space(trials: int) -> Space:
    """The space that `_options` draws from."""
    kinds = (
        {"type": "float", "low": 1e-5, "high": 0.1, "log": True},
        {"type": "int", "low": 1, "high": 99},
        {"type": "categorical", "choices": ["cosine", "step", "constant"]},
    )
    return Space.model_validate(
        {
            "name": "large",
            "dataset": "digits",
            "teacher": {"architecture": "lenet5", "recipe": {"epochs": 1}},
            "student": "lenet5",
            "price": 0.001,
            "parameters": {
                "query_budget": {"type": "int", "low": LEAST, "high": MOST, "log": True},
                **{f"option_{number:02d}": kinds[number % 3] for number in range(PARAMETERS)},
            },
            "trials": trials,
        }
    )


def _options(rng: np.random.Generator) -> dict[str, float | int | str]:
    kinds = (
        lambda: float(10 ** rng.uniform(-5, -1)),
        lambda: int(rng.integers(1, 100)),
        lambda: str(rng.choice(["cosine", "step", "constant"])),
    )
    return {f"option_{number:02d}": kinds[number % 3]() for number in range(PARAMETERS)}


def _reports(rng: np.random.Generator, records: list[TrialRecord], steps: int) -> pa.Table:
    count, share = len(records), np.arange(1, steps + 1) / steps
    spent = np.array([record.queries for record in records])
    ends = np.array([record.val_accuracy or 0.1 for record in records])
    queries = np.rint(spent[:, None] * share).astype(np.int64)
    accuracy = 0.1 + (ends - 0.1)[:, None] * np.sqrt(share) + rng.normal(0, 0.01, (count, steps))
    accuracy[:, -1] = ends
    seconds = np.outer([record.seconds for record in records], share).ravel()
    columns = {
        "uid": pa.array(np.repeat([record.uid for record in records], steps)),
        "attempt": np.ones(count * steps, np.int64),
        "step": np.tile(np.arange(steps), count),
        "queries": queries.ravel(),
        "val_accuracy": accuracy.ravel(),
        "agreement": accuracy.ravel() - 0.01,
        "pool_size": queries.ravel(),
        "seconds": seconds,
        "milestone": np.zeros(count * steps, np.bool_),
        **{f"loss.{name}": rng.exponential(1 / np.tile(share * steps, count)) for name in LOSSES},
    }
    parts = rng.dirichlet(np.ones(len(SECONDS)), len(seconds))
    return pa.table(
        columns | dict(zip(SECONDS, (parts * seconds[:, None]).astype(np.float32).T, strict=True))
    )


def _book(layout: RunLayout, rng: np.random.Generator, records: list[TrialRecord]) -> None:
    journal = open_journal(layout.ledger)
    journal.append_open(EVALUATION, 1000, 0)
    _ask(journal, EVALUATION, [1000], rng)
    for record in records:
        journal.append_open(record.uid, record.config.options["query_budget"], 0)
        ends = np.arange(REQUESTS + 1) * record.queries // REQUESTS
        _ask(journal, record.uid, np.diff(ends).tolist(), rng)
    journal.close()


def _ask(journal, uid: str, sizes: list[int], rng: np.random.Generator) -> None:
    keys = [RequestKey(uid, number, f"{uid}-{number}", size) for number, size in enumerate(sizes)]
    journal.append_sent([(key, key.images) for key in keys])
    journal.append_charges([Charge(key, Response(rng.integers(0, 10, key.images))) for key in keys])


if __name__ == "__main__":
    main()
