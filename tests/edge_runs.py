"""Builders of named edge-case runs, shared by the tests of store, figures, dashboard and commands."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raysys.fronts.hypervolume import Reference
from raysys.fronts.objectives import ACCURACY, AGREEMENT, QUERIES, SECONDS
from raysys.oracle import Response
from raysys.records import (
    EVALUATION,
    Report,
    Scalar,
    TeacherCard,
    TrialConfig,
    TrialRecord,
    TrialStatus,
)
from raysys.space.load import to_json
from raysys.space.schema import Space
from raysys.space.trial_config import resolve
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest, RunState, write_manifest
from raysys.store.pairs import join_parts, keep_part
from raysys.store.reader import read_run, reports_of, trials_of
from raysys.store.schema import reports_table, trials_table
from raysys.store.writer import RunWriter
from raysys.teacher.journal import open_journal
from raysys.teacher.ledger import Charge, RequestKey

TEACHER = TeacherCard("lenet5-digits", "lenet5", "ab" * 32, 0.985, 0.987)

UNLABELLED: dict[str, Any] = {
    "objectives": (AGREEMENT, QUERIES),
    "teacher": TeacherCard("somewhere", "http", "", None, None),
}
"""What the manifest of a run without labels says differently."""


def manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "raysys": "0.1.0",
        "created": "2026-11-21T08:00:00Z",
        "state": RunState.FINISHED,
        "space": {"name": "digits"},
        "space_digest": "cd" * 32,
        "method": "ideal",
        "response": "hard",
        "reference": Reference(accuracy=0.1, queries=2000),
        "seed": 0,
        "sampler": "tpe",
        "trials": 0,
        "teacher": TEACHER,
    }
    return Manifest(**{**values, **changes})


def config(number: int, **options: Any) -> TrialConfig:
    defaults = {"g_steps": 10 + number, "lr": 0.05, "schedule": "cosine"}
    return TrialConfig(f"u{number:05d}", "ideal", "hard", "lenet5", 100 + number, {**defaults, **options})


def trial(number: int, status: TrialStatus = TrialStatus.FINISHED, **values: Any) -> TrialRecord:
    known: dict[str, Any] = {"queries": 500 * (number + 1), "val_accuracy": 0.8 + 0.03 * number}
    own = config(number)
    return TrialRecord(own.uid, 1, status, own, **{**known, **values})


def replicate(
    number: int, status: TrialStatus = TrialStatus.FINISHED, *, of: int, **values: Any
) -> TrialRecord:
    """Another seed of the recipe of trial `of`."""
    own = trial(number, status, **values)
    return replace(own, config=replace(own.config, options=config(of).options))


def report(number: int, step: int, attempt: int = 1, **values: Any) -> Report:
    known: dict[str, Any] = {
        "queries": 100 * (step + 1),
        "val_accuracy": 0.5 + 0.02 * step,
        "agreement": 0.4 + 0.02 * step,
        "pool_size": 100 * (step + 1),
        "seconds": 0.5 * step,
        "losses": {"cross_entropy": 1 / (step + 1)},
        "seconds_by": {"generate": 0.3 * step, "train": 0.2 * step},
    }
    return Report(uid=f"u{number:05d}", attempt=attempt, step=step, **{**known, **values})


def write_run(
    root: Path, records: Sequence[TrialRecord], steps: int = 3, merged: bool = True, **changes: Any
) -> RunLayout:
    """A run with these trials and `steps` reports of each, the last at the trial's own queries.

    `merged`: as a writer leaves it when it closes (quick to build); else as it stands while the run goes on.
    """
    layout = RunLayout(root)
    charged = sum(record.queries for record in records)
    write_manifest(layout, manifest(**{"trials": len(records), "charged": charged, **changes}))
    if merged:
        reports = [row for record in records for row in _reports(record, steps)]
        reports_of(layout).append(reports_table(reports), 1)
        trials_of(layout).append(trials_table(records), 1)
        return layout
    writer = RunWriter(layout)
    for record in records:
        for row in _reports(record, steps):
            writer.report(row)
        writer.trial(record)
    return layout


def _reports(record: TrialRecord, steps: int) -> list[Report]:
    spent = [record.queries * (step + 1) // steps for step in range(steps)]
    known = {"val_accuracy": None} if record.val_accuracy is None and record.agreement is not None else {}
    return [report(int(record.uid[1:]), step, queries=queries, **known) for step, queries in enumerate(spent)]


def _many(count: int) -> list[TrialRecord]:
    rng = np.random.default_rng(0)
    queries = rng.integers(100, 2000, count)
    accuracy = 0.5 + 0.13 * np.log10(queries / 100) + rng.normal(0, 0.03, count)
    states = [TrialStatus.STOPPED if number % 5 == 4 else TrialStatus.FINISHED for number in range(count)]
    return [
        trial(number, states[number], queries=int(queries[number]), val_accuracy=float(accuracy[number]))
        for number in range(count)
    ]


SPACE = Space.model_validate(
    {
        "name": "toy",
        "dataset": "digits",
        "teacher": {"architecture": "lenet5", "recipe": {"epochs": 1}},
        "student": "lenet5",
        "parameters": {
            "query_budget": {"type": "int", "low": 100, "high": 2000, "log": True},
            "passes": {"type": "int", "low": 0, "high": 20, "step": 5},
            "optimizer": {"type": "categorical", "choices": ["sgd", "adamw"]},
            "lr_sgd": {
                "type": "float", "low": 1e-3, "high": 1.0, "log": True, "option": "lr",
                "when": {"optimizer": "sgd"},
            },
            "depth": {"type": "int", "low": 3, "high": 3},
        },
        "trials": 40,
    }
)  # fmt: skip
"""With a condition, choices, a log scale, and a parameter that has one value."""


def searched(count: int) -> list[TrialRecord]:
    """Finished trials of `SPACE`, drawn at random; `passes` decides the accuracy."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(count):
        values: dict[str, Scalar] = {
            "query_budget": int(rng.integers(100, 2000)),
            "passes": 5 * int(rng.integers(5)),
            "optimizer": str(rng.choice(["sgd", "adamw"])),
            "depth": 3,
        }
        if values["optimizer"] == "sgd":
            values["lr_sgd"] = float(10 ** rng.uniform(-3, 0))
        own = resolve(SPACE, values, f"u{number:05d}", number)
        accuracy = 0.3 + float(values["passes"]) / 40 + float(rng.normal(0, 0.01))
        spent = int(values["query_budget"])
        records.append(
            TrialRecord(own.uid, 1, TrialStatus.FINISHED, own, spent, accuracy, seconds=spent / 10)
        )
    return records


RUNS: dict[str, tuple[list[TrialRecord], dict[str, Any]]] = {
    "none": ([], {"state": RunState.RUNNING, "trials": 8}),
    "one": ([trial(0)], {}),
    "three": ([trial(0), trial(1, val_accuracy=0.95), trial(2, val_accuracy=0.96, test_accuracy=0.955)], {}),
    "failed-only": (
        [
            trial(n, TrialStatus.FAILED, val_accuracy=None, error="ValueError: boom $x$\n  at line 3")
            for n in range(3)
        ],
        {"state": RunState.FAILED, "caps": {"queries": 100000}},
    ),
    "running": (
        [trial(0, TrialStatus.RUNNING, val_accuracy=None), trial(1, TrialStatus.STOPPED), trial(2)],
        {"state": RunState.RUNNING, "trials": 10},
    ),
    "nan": ([trial(0, val_accuracy=math.nan), trial(1, val_accuracy=math.inf), trial(2)], {}),
    "Prüfung 数字 $5$": ([trial(0), trial(1)], {}),
    "many": (_many(60), {}),
    "seeds": (
        [
            trial(0, queries=500, val_accuracy=0.8, test_accuracy=0.7),
            trial(1, queries=1000, val_accuracy=0.89),
            replicate(2, of=0, queries=501, val_accuracy=0.9, test_accuracy=0.8),
            replicate(3, of=1, queries=1000, val_accuracy=0.93),
        ],
        {"seeds": 2},
    ),
    "no labels": (
        [
            trial(0, val_accuracy=None, agreement=0.7),
            trial(1, val_accuracy=None, agreement=0.9, test_agreement=0.88),
            trial(2, val_accuracy=None, agreement=0.85),
        ],
        UNLABELLED,
    ),
    "three objectives": (
        [
            trial(n, seconds=seconds, val_accuracy=accuracy)
            for n, (seconds, accuracy) in enumerate([(30.0, 0.8), (10.0, 0.82), (50.0, 0.9), (5.0, 0.7)])
        ],
        {"objectives": (ACCURACY, QUERIES, SECONDS)},
    ),
    "priced": (
        [
            trial(0),
            trial(1, TrialStatus.INTERRUPTED),
            trial(2, TrialStatus.STOPPED, error="below the median"),
        ],
        {
            "state": RunState.INTERRUPTED,
            "space": {"name": "digits", "price": 0.01},
            "caps": {"queries": 20000, "cost": 100.0},
            "charged": 3000,
            "executed": 3100,
        },
    ),
    "searched": (searched(40), {"space": to_json(SPACE), "trials": 40}),
}
"""Name of the run -> its trials, and what its manifest says differently."""


def book(layout: RunLayout, evaluation: int = 100) -> None:
    """Write the ledger that goes with a run's reports, one request a report, and what evaluation asked."""
    run = read_run(layout)
    budgets = {one.config.uid: max(one.queries, 1) for one in run.records()}
    journal = open_journal(layout.ledger)
    for uid, budget in {EVALUATION: evaluation, **budgets}.items():
        spent = [0, *(row["queries"] for row in run.reports.to_pylist() if row["uid"] == uid)]
        sizes = [evaluation] if uid == EVALUATION else np.diff(spent).tolist()
        keys = [RequestKey(uid, number, f"{uid}-{number}", size) for number, size in enumerate(sizes) if size]
        journal.append_open(uid, budget, 0)
        journal.append_sent([(key, key.images) for key in keys])
        answers = [Response(np.arange(key.images) % 10) for key in keys]
        journal.append_charges([Charge(*pair) for pair in zip(keys, answers, strict=True)])
    journal.close()


def draw(layout: RunLayout, uid: str, steps: Sequence[int]) -> None:
    """Write the sheets of a trial's generator, as it does: at each step its images are darker."""
    from raysys.cluster.trial_files import TrialFiles  # knows torch

    for step in steps:
        images = np.random.default_rng(step).integers(0, 256 // (1 + step), (64, 1, 8, 8)).astype(np.uint8)
        TrialFiles(layout, uid).show(step, images)


def pairs(layout: RunLayout, uid: str, labels: Sequence[int], soft: bool = False) -> None:
    """Write what a trial asked, one image for each label: pixels of image n are n; soft: told with 0.9."""
    images = np.broadcast_to(
        np.arange(len(labels), dtype=np.uint8)[:, None, None, None], (len(labels), 1, 8, 8)
    )
    told = np.where(np.eye(10, dtype=bool)[list(labels)], 0.9, 0.1 / 9).astype(np.float32) if soft else None
    keep_part(layout, uid, 0, images, Response(np.array(labels), told))
    join_parts(layout, uid)


def build(storage: Path, name: str) -> RunLayout:
    """Write the edge-case run `name` into `storage`."""
    records, changes = RUNS[name]
    return write_run(storage / name, records, **changes)
