"""An exploration against a teacher server in another process, while random parts of it are killed -9.

`tests/cluster/test_crashes.py` and `tests/benchmarks/crashes.py` share it. What the journal says is read here
line by line, without the ledger under test.
"""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
from faults.sitecustomize import command_line

from raysys.records import EVALUATION, TrialStatus
from raysys.store.manifest import RunState
from raysys.store.reader import read_run

CONCURRENT = 2
"""Trials at once. Each waits for one answer at a time."""
REQUEST = 50
"""Images of a request."""
ROUNDS = 20
"""Requests of a trial, each with its report and its checkpoint."""
BUDGET = ROUNDS * REQUEST
HELD_OUT = 797
"""Images of digits that the account `evaluation` asks."""

SPACE = ["--space", "digits", "--smoke"]
SETTINGS = {
    "query_budget": BUDGET,
    "batch_size": REQUEST,
    "warmup_share": 1.0,
    "warmup_rounds": ROUNDS,
    "warmup_candidates": 1,
    "epochs": 1,
    "passes": 1,
    "final_passes": 1,
    "generations": 1,
}

TITLES = {"teacher": "ray::TeacherActor", "worker": "ray::ImplicitFunc", "pack": "ray::PackActor"}
"""How Ray names the processes of the victims that are its."""
FATAL = ("teacher", "driver", "server")
"""Victims whose death may lose an answer on its way. A worker's answer reaches the ledger all the same."""

MORE = 10
"""Trials that a run gets which ended too early."""

PAUSE = 20
"""Requests that are answered between two kills, on average."""
JITTER_S = 0.2
"""Longest time that a kill waits after them."""
PATIENCE_S = 300
"""Nothing takes this long, also where several tests share two cores."""


class Workshop:
    """A folder, a teacher server whose port stays the same, and one run at a time against it."""

    def __init__(self, folder: Path, *options: str, pack: int = 1) -> None:
        self.run = folder / "runs" / "run"
        self._folder = folder
        self._options = options
        self._pack = pack
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        self._environment.pop("RAYSYS_STORAGE", None)
        self._port = 0
        self.serve()
        self.url = self.wait_for_server()
        self._port = int(self.url.rpartition(":")[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is left, by force."""
        if hasattr(self, "driver"):
            end(family(self.driver.pid))
            self.driver.wait()
        self.server.kill()
        self.server.wait()

    def serve(self) -> None:
        """Start the server, at once or again, with the same counter."""
        options = ["--port", str(self._port), "--counter", str(self._folder / "counter.log")]
        self.server = self._start("server", "teacher", "serve", *SPACE, "--threads", "1", "--json", *options)

    def wait_for_server(self) -> str:
        """The URL of the server that was started last, once it answers."""
        deadline = time.monotonic() + PATIENCE_S
        while not (line := (self._folder / "server.out").read_text()).endswith("\n"):
            assert self.server.poll() is None and time.monotonic() < deadline, self.said("server")
            time.sleep(0.02)
        return str(json.loads(line)["url"])

    def explore(self, trials: int) -> None:
        """Start the run."""
        settings = [word for key, value in SETTINGS.items() for word in ("-s", f"{key}={value}")]
        where = ["--teacher-url", self.url, "--name", "run", "--storage", str(self.run.parent)]
        self._tune(*SPACE, *where, "--sampler", "random", "--trials", str(trials), *settings, *self._options)

    def resume(self, extend: int = 0) -> None:
        """Go on with the run."""
        self._tune("--resume", str(self.run), "--retry-failed", "--extend", str(extend))

    def wait(self) -> int:
        """The exit code of the driver."""
        return self.driver.wait(timeout=PATIENCE_S)

    def said(self, who: str) -> str:
        """What the driver or the server that was started last wrote to stderr."""
        return (self._folder / f"{who}.err").read_text()

    def audit(self) -> tuple[int, dict[str, Any]]:
        """The exit code of `raysys audit`, and what it says."""
        process = self._start("audit", "audit", str(self.run), "--json")
        code = process.wait(timeout=PATIENCE_S)
        assert code in (0, 3), self.said("audit")
        return code, json.loads((self._folder / "audit.out").read_text())

    def requests(self) -> int:
        """How many requests of trials were answered so far."""
        journal = self.run / "ledger" / "journal.jsonl"
        return journal.read_bytes().count(b'{"uid":"u') if journal.exists() else 0

    def _tune(self, *arguments: str) -> None:
        size = ["--concurrent", str(CONCURRENT), "--pack", str(self._pack)]
        common = [*size, "--max-failures", "100%", "--progress", "none", "--json"]
        self.driver = self._start("driver", "tune", *arguments, *common)

    def _start(self, who: str, *arguments: str) -> subprocess.Popen[bytes]:
        out, err = self._folder / f"{who}.out", self._folder / f"{who}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "raysys", *arguments],
                cwd=self._folder,
                env=self._environment,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )


@dataclass(frozen=True)
class Kill:
    """`victim` died between the times `before` and `after`, seconds since the epoch."""

    victim: str
    before: float
    after: float


@dataclass
class Books:
    """What a journal says. `charges`: images of each charged (uid, sequence)."""

    charges: dict[tuple[str, int], int] = field(default_factory=dict)
    charged: int = 0
    sent: int = 0
    twice: list[tuple[str, int]] = field(default_factory=list)
    """Charged once more."""
    again: list[tuple[str, int]] = field(default_factory=list)
    """Sent once more after their answer was recorded."""
    lost: list[tuple[str, int, float, float]] = field(default_factory=list)
    """Sent at a time, without an answer, and sent once more at another time: (uid, sequence, time, time)."""


def read_books(run: Path) -> Books:
    """The journal of a run that has ended."""
    books = Books()
    waiting: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for line in (run / "ledger" / "journal.jsonl").read_bytes().splitlines():
        event = json.loads(line.partition(b" ")[2])
        for uid, sequence, images in event.get("sent", ()):
            key, books.sent = (uid, sequence), books.sent + images
            if images < 0:
                waiting[key].pop()
                continue
            if key in books.charges:
                books.again.append(key)
            waiting[key].append(event["time"])
        for charge in event.get("charges", ()):
            key = (charge["uid"], charge["sequence"])
            if key in books.charges:
                books.twice.append(key)
            books.charges[key] = charge["images"]
            books.charged += charge["images"]
    for (uid, sequence), times in waiting.items():
        if uid != EVALUATION:  # its requests are larger than what is sent at once
            books.lost += [(uid, sequence, *pair) for pair in pairwise(times)]
    return books


@dataclass(frozen=True)
class Outcome:
    """A run that ended after `kills`."""

    kills: list[Kill]
    trials: int
    reported: int
    """Sum over the trials' last reports and the held-out images."""
    books: Books
    audit: dict[str, Any]
    faults: list[str]
    """What does not hold, a sentence each."""


def storm(workshop: Workshop, seed: int, victims: Mapping[str, int], trials: int) -> Outcome:
    """Explore while each kind of victim is killed that often, in random order, at random moments."""
    rng = np.random.default_rng(seed)
    kills: list[Kill] = []
    try:
        workshop.explore(trials)
        for victim in rng.permutation([victim for victim, number in victims.items() for _ in range(number)]):
            pause = int(rng.integers(0 if kills else 1, 2 * PAUSE))
            wait_for_requests(workshop, workshop.requests() + pause)
            time.sleep(rng.uniform(0, JITTER_S))
            kills.append(_kill(workshop, str(victim), rng))
        wait_for_requests(workshop, workshop.requests() + 1)  # the server is there again when the run ends
        code = workshop.wait()
        if code == 0 and _failed(workshop.run):
            workshop.resume()
            code = workshop.wait()
        assert code == 0, workshop.said("driver")
        return check(workshop, kills)
    except Exception as error:
        error.add_note(f"kill schedule {seed}, after {[kill.victim for kill in kills]}")
        raise


def _failed(run: Path) -> bool:
    """Some trial lost more workers than it is started again for."""
    return any(record.status is TrialStatus.FAILED for record in read_run(run).records())


def wait_for_requests(workshop: Workshop, number: int) -> None:
    """Return when so many were answered."""
    deadline = time.monotonic() + PATIENCE_S
    while workshop.requests() < number:
        assert time.monotonic() < deadline, f"nothing is asked any more\n{workshop.said('driver')}"
        _keep_going(workshop)


def _keep_going(workshop: Workshop) -> None:
    """Give a run that ended before its kills some more trials."""
    if (code := workshop.driver.poll()) is not None:
        assert code == 0, workshop.said("driver")
        workshop.resume(extend=MORE)
    time.sleep(0.02)


def _kill(workshop: Workshop, victim: str, rng: np.random.Generator) -> Kill:
    """Kill one process of a run that works, and see to it that it goes on."""
    _keep_going(workshop)
    if victim in TITLES:
        process = _find(workshop, TITLES[victim], rng)
        before = time.time()
        end([process])
        _wait_for_end([process])
        return Kill(victim, before, time.time())
    before = time.time()
    if victim == "server":
        workshop.server.kill()
        workshop.server.wait()
        after = time.time()
        workshop.serve()
        return Kill(victim, before, after)
    orphans = family(workshop.driver.pid)
    writers = [process for process in orphans if command_line(process).startswith(tuple(TITLES.values()))]
    workshop.driver.kill()
    workshop.driver.wait()
    workshop.resume()  # at once: what belonged to the dead driver may still be there
    _wait_for_end(writers)
    after = time.time()
    end(orphans)  # Ray's agents would stay for a while
    return Kill(victim, before, after)


def _find(workshop: Workshop, title: str, rng: np.random.Generator) -> psutil.Process:
    """One process of the driver's family with that title, as soon as there is one."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = [
            process for process in family(workshop.driver.pid) if command_line(process).startswith(title)
        ]
        if found:
            return found[rng.integers(len(found))]
        assert time.monotonic() < deadline, f"no {title}\n{workshop.said('driver')}"
        _keep_going(workshop)


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants; none once it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end(processes: list[psutil.Process]) -> None:
    """Kill these."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _wait_for_end(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(command_line(process) for process in processes):  # a zombie has none
        assert time.monotonic() < deadline, f"still there: {processes}"
        time.sleep(0.02)


def check(workshop: Workshop, kills: list[Kill]) -> Outcome:
    """Hold the books of a run that has ended against each other; its server must be there."""
    snapshot = read_run(workshop.run)
    books = read_books(workshop.run)
    code, audit = workshop.audit()
    last: dict[str, int] = {}
    for row in sorted(snapshot.reports.to_pylist(), key=lambda row: row["step"]):
        last[row["uid"]] = row["queries"]
    reported = HELD_OUT + sum(last.values())
    trials = snapshot.manifest.trials
    finished = sorted(r.uid for r in snapshot.records() if r.status is TrialStatus.FINISHED)
    unanswered = books.sent - books.charged
    unexplained = [sent for sent in books.lost if not any(_explains(kill, *sent[2:]) for kill in kills)]
    in_flight = CONCURRENT * REQUEST * sum(kill.victim in FATAL for kill in kills)
    checks = {
        f"the run is {snapshot.manifest.state}": snapshot.manifest.state is RunState.FINISHED,
        f"{len(finished)} of {trials} trials finished": finished == [f"u{n:05d}" for n in range(trials)],
        f"charged {books.charged}, not what {trials} trials may": books.charged == HELD_OUT + trials * BUDGET,
        f"unique {sum(books.charges.values())}": sum(books.charges.values()) == books.charged,
        f"reported {reported}": reported == books.charged,
        f"charged twice: {books.twice}": not books.twice,
        f"asked again after the answer: {books.again}": not books.again,
        f"server counter {audit['counted']}, executed {audit['executed']}": (
            audit["counted"] == audit["executed"]
        ),
        f"executed {audit['executed']}, sent {books.sent}": (
            books.charged <= audit["executed"] <= books.sent
        ),
        f"{unanswered} images got no answer, {in_flight} were in flight": unanswered <= in_flight,
        f"sent without an answer, and nothing was killed meanwhile: {unexplained}": not unexplained,
        f"the audit exits {code}: {audit['mismatches']}": code == 0 and not audit["mismatches"],
    }
    faults = [text for text, holds in checks.items() if not holds]
    return Outcome(kills, trials, reported, books, audit, faults)


def _explains(kill: Kill, sent: float, again: float) -> bool:
    return kill.victim in FATAL and sent <= kill.after and kill.before <= again
