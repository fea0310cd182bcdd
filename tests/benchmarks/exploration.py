"""Where the time of a whole exploration goes, on two cores: `raysys tune --space digits --trials 64`.

    python tests/benchmarks/exploration.py [--trials 64] [--smoke] [--keep FOLDER]

Two trials at a time have two places: everything is counted in seconds of a place, 2 x the wall time in all.
What the run keeps says when what happened (the ledger's times, and when its tables' parts were written), its
reports where the trials' seconds went; the processes' CPU is read from outside. The teacher is trained anew.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where pytest finds the builders

from crash_runs import TITLES, family

from raysys.records import EVALUATION, TrialStatus
from raysys.store.reader import read_run
from raysys.store.seconds import seconds_by
from raysys.teacher.log import FILE, LocalLog, file_lines

PLACES = 2
TARGET = 0.10
"""The most that everything but trials may take."""
LOOK_S = 0.5

_OUT = Console(width=110)


@dataclass
class Seen:
    """What was seen of a run from outside; all times in seconds since 1970, CPU in seconds by process.

    `rows`: of each row that was written to the trials' table, when, whose and the status. `said`: when each
    line came.
    """

    start: float
    end: float = 0.0
    rows: dict[str, tuple[float, str, str]] = field(default_factory=dict)
    said: list[tuple[float, str]] = field(default_factory=list)
    cpu: dict[int, tuple[str, float]] = field(default_factory=dict)

    def first(self, words: str) -> float:
        """When a line with these words was said."""
        return next(when for when, line in self.said if words in line)

    def when(self, *statuses: str) -> list[float]:
        """When rows of these statuses were written, rising."""
        return sorted(when for when, _, status in self.rows.values() if status in statuses)


def explore(folder: Path, options: list[str]) -> Seen:
    """Run `raysys tune` with two trials at a time, and look at it."""
    command = [sys.executable, "-m", "raysys.tune", "--space", "digits", "--storage", str(folder)]
    command += ["--name", "run", "--concurrent", str(PLACES), "--progress", "none", *options]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    seen = Seen(time.time())
    said = folder / "said"
    with said.open("wb") as stream:
        driver = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
        while driver.poll() is None:
            time.sleep(LOOK_S)
            _look(seen, folder / "run", driver.pid)
            lines = said.read_text().splitlines()
            seen.said += [(time.time(), line) for line in lines[len(seen.said) :]]
    seen.end = time.time()
    if driver.returncode:
        sys.exit(said.read_text())
    return seen


def _look(seen: Seen, run: Path, driver: int) -> None:
    for part in run.glob("trials/part-*.parquet"):
        first, last = part.name.split("-")[1:3]
        if part.name not in seen.rows and first == last:  # a merged one tells nothing new
            (row,) = pq.read_table(part, columns=["uid", "status"]).to_pylist()
            seen.rows[part.name] = part.stat().st_mtime, row["uid"], row["status"]
    for process in family(driver):
        try:
            line, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:
            continue
        who = "driver" if process.pid == driver else "Ray's own"
        who = next((name for name, title in TITLES.items() if line.startswith(title)), who)
        if "ray::" in line and who == "Ray's own":  # a worker that waits for work, or has done some
            who = "worker"
        seen.cpu[process.pid] = who, times.user + times.system  # it may have had another name before


@dataclass(frozen=True)
class Ledger:
    """When the teacher was there and had answered the evaluation; its durable writes and their seconds."""

    ready: float
    evaluated: float
    writes: int
    seconds: float


def ledger(run: Path) -> Ledger:
    """What the ledger tells; its lines are written again, next to the run, to see how long that takes."""
    lines = list(file_lines(run / "ledger" / FILE, LocalFileSystem()))
    events = [json.loads(line.partition(b" ")[2]) for line in lines]
    own = [
        event["time"]
        for event in events
        if event.get("open") == EVALUATION or EVALUATION in {one["uid"] for one in event.get("charges", ())}
    ]
    durable = ["charges" in event or "open" in event for event in events]
    with tempfile.TemporaryDirectory(dir=run.parent) as folder:
        log = LocalLog(Path(folder))
        start = time.perf_counter()
        for line, sync in zip(lines, durable, strict=True):
            log.append(line, sync)
        took = time.perf_counter() - start
        log.close()
    return Ledger(own[0], own[-1], sum(durable), took)


def show(run: Path, seen: Seen) -> None:
    book, parts = ledger(run), seconds_by(read_run(run).reports)
    began = seen.when(TrialStatus.RUNNING)
    ended = seen.when(TrialStatus.FINISHED, TrialStatus.STOPPED, TrialStatus.FAILED)[: len(began)]
    asked = parts.pop("ask")
    alone = ended[-1] - ended[-PLACES]  # nothing is left for the other place
    within = PLACES * (ended[-1] - began[0])
    work, told = sum(parts.values()), seen.first("teacher mlp")
    rows = {
        "start-up: imports, space, images": PLACES * (seen.first("run ") - seen.start),
        "start-up: the teacher is trained": PLACES * (told - seen.first("run ")),
        "start-up: Ray, the teacher's actor": PLACES * (book.ready - told),
        "start-up: answers to val and test": PLACES * (book.evaluated - book.ready),
        "start-up: until a trial runs": PLACES * (began[0] - book.evaluated),
        **{f"trials: {part}": took for part, took in parts.items()},
        "teacher: trials wait for answers": asked - book.seconds,
        f"ledger: {book.writes} durable writes": book.seconds,
        "driver: between trials": within - work - asked - alone,
        "the last trial is alone": alone,
        "end: tests of students, tables, Ray": PLACES * (seen.end - ended[-1]),
    }
    whole = PLACES * (seen.end - seen.start)
    table = Table("", "s of a place", "share", box=None)
    for name, took in rows.items():
        table.add_row(name, f"{took:.1f}", f"{took / whole:.1%}")
    table.add_row("in all, 2 x wall", f"{whole:.1f}", f"{sum(rows.values()) / whole:.1%}")
    used = work / whole
    table.add_row("everything but trials", f"{whole - work:.1f}", f"{1 - used:.1%}  (target: {TARGET:.0%})")
    _OUT.print(table)
    cpu = Counter[str]()
    for who, took in seen.cpu.values():
        cpu[who] += took
    _OUT.print(
        "CPU seconds: " + ", ".join(f"{who} {took:.1f}" for who, took in cpu.most_common()),
        f"of {os.cpu_count()} cores x {seen.end - seen.start:.1f} s; load {os.getloadavg()[1]:.1f}",
    )


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
    else:
        keep.mkdir(parents=True)
        yield keep


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--smoke", action="store_true", help="with the space's smaller trials")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the run there")
    arguments = parser.parse_args()
    options = ["-s", f"trials={arguments.trials}"] if arguments.smoke else ["--trials", str(arguments.trials)]
    with _folder(arguments.keep) as folder:
        seen = explore(folder, options + ["--smoke"] * arguments.smoke)
        show(folder / "run", seen)


if __name__ == "__main__":
    main()
