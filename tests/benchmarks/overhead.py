"""What a trial, a report and a suggestion cost beside the work: time, memory of the driver, files.

    python tests/benchmarks/overhead.py [--trials 1000] [--reports 5000] [--searcher]

Trials ask five images and learn nothing; all else is real: `raysys tune` on Ray, the teacher, the ledger.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where pytest finds the builders

from crash_runs import TITLES, family
from edge_runs import config, manifest, report
from made_up import install
from ray import tune

from raysys.cluster.callbacks import Recorder
from raysys.cluster.outbox import Outbox
from raysys.cluster.ray_cluster import ray_session
from raysys.cluster.run_book import RunBook
from raysys.cluster.trainable import _result
from raysys.records import Report, TrialStatus
from raysys.search.study_searcher import StudySearcher
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import write_manifest
from raysys.store.reader import read_run
from raysys.store.writer import RunWriter
from raysys.teacher.journal import FILE

SPACE = """
name: idle
dataset: digits
teacher: {architecture: mlp, recipe: {epochs: 1}}
student: mlp
method: idle
held_out: 40
options: {query_budget: 5}
parameters:
  a: {type: float, low: 0.0, high: 1.0}
  b: {type: float, low: 0.0, high: 1.0}
trials: 1
"""
MB = 2**20


@dataclass
class Watched:
    """What was seen of a run from outside. `memory`: who -> MB at each look; `cpu`: the driver's seconds."""

    code: int
    seconds: float
    cpu: float
    memory: dict[str, list[float]] = field(default_factory=dict)


def watch(folder: Path, *options: str) -> Watched:
    """Run `raysys tune` of trials that do nothing, and look at it every second."""
    (folder / "idle.yaml").write_text(SPACE)
    command = [sys.executable, "-m", "raysys", "tune", "--space", "idle.yaml", "--name", "run", *options]
    command += ["--concurrent", "2", "--progress", "none", "--storage", str(folder)]
    environment = install(folder / "package")
    start, cpu = time.monotonic(), 0.0
    seen = Watched(1, 0.0, 0.0)
    with (folder / "said").open("wb") as said:
        driver = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        while driver.poll() is None:
            time.sleep(1)
            try:
                cpu = sum(psutil.Process(driver.pid).cpu_times()[:2])
            except psutil.Error:
                break
            for name, used in memory(driver.pid).items():
                seen.memory.setdefault(name, []).append(used)
    seen.code, seen.cpu = driver.wait(), cpu
    seen.seconds = time.monotonic() - start
    if seen.code:
        sys.exit((folder / "said").read_text())
    return seen


def memory(driver: int) -> dict[str, float]:
    """MB that the driver, the teacher and the largest worker hold in memory of their own."""
    used: dict[str, float] = {}
    for process in family(driver):
        try:
            line, own = " ".join(process.cmdline()), process.memory_full_info().uss / MB
        except psutil.Error:
            continue
        for name, title in TITLES.items():
            if line.startswith(title):
                used[name] = max(used.get(name, 0), own)
        if process.pid == driver:
            used["driver"] = own
    return used


def size(folder: Path) -> tuple[int, float]:
    """(files, MB) below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    total = 0
    for path in files:
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return len(files), total / MB


def starts(run: Path) -> np.ndarray[Any, Any]:
    """When each trial began to ask: seconds, in the order of the trials' starts."""
    lines = (run / "ledger" / FILE).read_bytes().splitlines()
    events = [json.loads(line.partition(b" ")[2]) for line in lines]
    return np.array([event["time"] for event in events if event.get("open", "").startswith("u")])


def trials(count: int, sampler: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seen = watch(folder, "--trials", str(count), "--sampler", sampler)
        each = np.diff(starts(folder / "run"))
        part = max(1, len(each) // 10)
        table = Table("", f"{count} trials, {sampler}", box=None)
        table.add_row("whole command", f"{seen.seconds:.0f} s, load {os.getloadavg()[1]:.1f}")
        table.add_row("a trial, mean", f"{each.mean():.3f} s")
        table.add_row("the first / middle / last tenth", " / ".join(
            f"{chunk.mean():.3f}" for chunk in (each[:part], each[len(each) // 2 :][:part], each[-part:])
        ))  # fmt: skip
        table.add_row("driver, CPU a trial", f"{seen.cpu / count:.3f} s")
        for who, values in seen.memory.items():
            tenth = max(1, len(values) // 10)
            told = [f"{values[at]:.0f}" for at in (2 * tenth, len(values) // 2, -tenth)]
            table.add_row(f"memory of {who} at 20, 50, 90 %", " / ".join(told) + " MB")
        for part_of in ("trials", "reports", "ledger", "students", "checkpoints", "samples", "tune"):
            files, total = size(folder / "run" / part_of)
            table.add_row(f"{part_of}/", f"{files} files, {total:.2f} MB")
        Console(width=110).print(table)


def reports(count: int) -> None:
    """Reports from a trial's outbox to the tables, as fast as they go: no training, no checkpoints."""
    with tempfile.TemporaryDirectory() as name:
        os.environ |= install(Path(name) / "package")  # workers import this module's builders
        layout = RunLayout.open(Path(name) / "run")
        write_manifest(layout, manifest(trials=2))
        with RunWriter(layout) as writer, ray_session("local", layout.log):
            book = RunBook(writer, [], time.monotonic)
            rates = [told(layout, book, count, number, alone) for number, alone in enumerate((False, True))]
        rows = read_run(layout).reports.num_rows
    assert rows == 2 * count, f"{rows} reports arrived"
    table = Table(f"{count} reports", "together", "one by one", box=None)
    table.add_row("reports/s", *(f"{rate:,.0f}" for rate in rates))
    Console(width=110).print(table)


def told(layout: RunLayout, book: RunBook, count: int, number: int, alone: bool) -> float:
    """Reports a second that one trial gets through Tune into the tables."""
    book.suggested(config(number))
    took: list[float] = []

    class Clocked(Recorder):
        def on_trial_start(self, *args: Any, **info: Any) -> None:
            super().on_trial_start(*args, **info)
            took.append(time.monotonic())

        def on_trial_complete(self, *args: Any, **info: Any) -> None:
            super().on_trial_complete(*args, **info)
            took.append(time.monotonic())

    tune.Tuner(
        tune.with_parameters(chatter, count=count, alone=alone),
        param_space={"uid": f"u{number:05d}", "number": number},
        run_config=tune.RunConfig(
            storage_path=str(layout.tune),
            verbose=0,
            callbacks=[Clocked(book, lambda: None, lambda uid: None, {})],
        ),
    ).fit()
    return count / (took[-1] - took[0])


def chatter(config: dict[str, Any], count: int, alone: bool) -> None:
    """A trial that has nothing to do but to tell."""

    def send(reports: Sequence[Report]) -> None:
        tune.report(_result(reports))

    outbox = Outbox(send, time.monotonic)
    for step in range(count):
        row = report(config["number"], step)
        if alone:
            send([row])
        else:
            outbox.add([row])
    last = _result(outbox.take() or [row])
    tune.report({**last, "status": "finished", "note": "", "weights_sha256": ""})


def searcher() -> None:
    """Time of `ask` beside so many trials told."""
    names = ["val_accuracy", "queries", "seconds"]
    table = Table("ask(), ms", "objectives", "10", "100", "200", "500", "1000", box=None)
    for sampler, objectives, most in (
        ("random", 2, 1000), ("nsga2", 2, 1000), ("tpe", 2, 1000), ("tpe", 3, 1000), ("gp", 2, 200)
    ):  # fmt: skip
        space = Space.model_validate(
            {
                "name": "s",
                "dataset": "digits",
                "teacher": {"architecture": "mlp", "recipe": {"epochs": 1}},
                "student": "mlp",
                "objectives": [
                    {"name": one, "direction": "minimize" if at else "maximize"}
                    for at, one in enumerate(names[:objectives])
                ],
                "parameters": {f"x{at}": {"type": "float", "low": 0.0, "high": 1.0} for at in range(12)},
                "trials": 1,
            }
        )
        study = StudySearcher(space, sampler, 0)  # type: ignore[arg-type]
        rng = np.random.default_rng(0)
        took = []
        for told_of in range(most):
            near = any(0 <= at - told_of <= 5 for at in (10, 100, 200, 500, 1000))
            study._sampler = sampler if near else "random"  # type: ignore[assignment]  # quick between the points
            start = time.perf_counter()
            suggestion = study.ask()
            took.append(time.perf_counter() - start)
            told = dict(zip(names, (rng.random(), rng.integers(100, 5000), rng.random()), strict=True))
            study.tell(suggestion.uid, TrialStatus.FINISHED, told)
        cells = [
            f"{1000 * np.median(took[at - 5 : at]):.1f}" if at <= most else ""
            for at in (10, 100, 200, 500, 1000)
        ]
        table.add_row(sampler, str(objectives), *cells)
    Console(width=110).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=0)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--reports", type=int, default=0)
    parser.add_argument("--searcher", action="store_true")
    arguments = parser.parse_args()
    if arguments.trials:
        trials(arguments.trials, arguments.sampler)
    if arguments.reports:
        reports(arguments.reports)
    if arguments.searcher:
        searcher()
    return 0


if __name__ == "__main__":
    sys.exit(main())
