"""Kills a part of a run in the middle of something: every Python reads this that finds it on PYTHONPATH.

The environment variable RAYSYS_FAULT holds a `Fault` as JSON. Ray's processes inherit it from their driver or
their node, so that a run's processes are those that have it in their environment.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE = "RAYSYS_FAULT"

Function = Callable[..., Any]
Wrapper = Callable[[Function, Function], Function]
"""Takes a function and `strike`; gives the function that calls both."""


def before(function: Function, strike: Function) -> Function:
    @wraps(function)
    def wrapped(*arguments: Any) -> Any:
        strike()
        return function(*arguments)

    return wrapped


def after(function: Function, strike: Function) -> Function:
    @wraps(function)
    def wrapped(*arguments: Any) -> Any:
        result = function(*arguments)
        strike()
        return result

    return wrapped


def before_rename(pattern: str) -> Wrapper:
    """In `write_atomic` of such a path: all of it is in the temporary file, nothing is renamed."""

    def wrap(function: Function, strike: Function) -> Function:
        @wraps(function)
        def wrapped(filesystem: Any, path: Path, write: Function) -> Any:
            def write_and_strike(stream: Any) -> None:
                write(stream)
                stream.flush()
                strike()

            return function(filesystem, path, write_and_strike if path.match(pattern) else write)

        return wrapped

    return wrap


def half_an_answer(function: Function, strike: Function) -> Function:
    """In `LocalLog.append` of answers, with half of the line written."""

    @wraps(function)
    def wrapped(log: Any, line: bytes, sync: bool) -> Any:
        if b'"charges"' in line:
            strike(lambda: log._file.write(line[: len(line) // 2]))
        return function(log, line, sync)

    return wrapped


MOMENTS: dict[str, tuple[str, str, Wrapper]] = {
    # in the trial's worker
    "between generator steps": ("raysys.models.generators", "Generator.forward", before),
    "checkpoint not renamed": ("raysys.files", "write_atomic", before_rename("state-*.pt")),
    # in the teacher's actor
    "after the forward": ("raysys.teacher.hard", "HardTeacher.predict", after),
    "half an answer written": ("raysys.teacher.log", "LocalLog.append", half_an_answer),
    "charged, not answered": ("raysys.teacher.journal", "Journal.append_charges", after),
    # in the driver
    "trials part not renamed": ("raysys.files", "write_atomic", before_rename("trials/part-*")),
    "run.json not renamed": ("raysys.files", "write_atomic", before_rename("run.json")),
}
"""What a process is in the middle of: module, function, and how the strike gets into it."""

TITLES = {
    "worker": "ray::ImplicitFunc",
    "node": "ray::ImplicitFunc",
    "teacher": "ray::TeacherActor",
    "ledger": "ray::TeacherActor",
    "driver": "raysys tune",
    "head": "",
}
"""What the command line of a victim contains; of a node, its trial's worker."""


class Fault:
    """`victim` dies at the `call`-th call of the function of `moment` in one process, once.

    worker, teacher, driver: one process. ledger: the teacher's, which leaves half a line in the journal of
    `run`. node: the trial's worker, its raylet and all that belongs to it. head: every process of the run.
    `marker` is a file that tells of it; where it exists, nobody dies any more.
    """

    def __init__(self, moment: str, victim: str, call: int, run: str, marker: str) -> None:
        self._moment, self._victim, self._call = moment, victim, call
        self._run, self._marker = Path(run), Path(marker)
        self._calls = 0

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """See `importlib.abc.MetaPathFinder`: the moment's function is wrapped once its module is there."""
        module, function, wrap = MOMENTS[self._moment]
        if name != module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run_module = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run_module(module)
            *owner, attribute = function.split(".")
            holder = getattr(module, owner[0]) if owner else module
            setattr(holder, attribute, wrap(getattr(holder, attribute), self.strike))

        spec.loader.exec_module = exec_module
        return spec

    def strike(self, last_act: Callable[[], object] = lambda: None) -> None:
        """Kill whom it is time to kill, this process last."""
        self._calls += 1
        if self._calls < self._call or self._marker.exists():
            return
        if not (victims := self._victims()):
            return  # not there yet
        victims.sort(key=lambda process: process.pid == os.getpid())
        died = {process.pid: command_line(process) for process in victims}
        self._marker.write_text(json.dumps({"moment": self._moment, "in": os.getpid(), "died": died}))
        last_act()
        for process in victims:
            process.kill()
        while any(command_line(process) for process in victims):
            time.sleep(0.01)
        if self._victim == "ledger":
            self._tear()

    def _victims(self) -> list[Any]:
        found = [one for one in members(os.environ[VARIABLE]) if TITLES[self._victim] in command_line(one)]
        if self._victim != "node":
            return found
        raylets = [process.parent() for process in found]
        return [one for raylet in raylets for one in (raylet, *raylet.children(recursive=True))]

    def _tear(self) -> None:
        """What a ledger leaves that dies while it appends."""
        journal = self._run / "ledger" / "journal.jsonl"
        line = journal.read_bytes().splitlines()[-1]
        with journal.open("ab") as file:
            file.write(line[: len(line) // 2])


def members(fault: str) -> list[Any]:
    """The processes with that fault in their environment, as `psutil.Process`."""
    import psutil

    def is_one(process: psutil.Process) -> bool:
        try:
            return process.environ().get(VARIABLE) == fault
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if is_one(process)]


def command_line(process: Any) -> str:
    """Its command line; empty once it is dead."""
    import psutil

    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


if VARIABLE in os.environ:
    sys.meta_path.insert(0, Fault(**json.loads(os.environ[VARIABLE])))
