import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psutil
import pytest
from tiny_trial import TASK, CountingTeacher, pictures

from raysys.cluster.problem import HeldOut, Problem, ask_held_out
from raysys.cluster.signals import (
    END_NOW,
    SoftStop,
    Terminated,
    exit_code,
    held_back,
    hurried,
    swept,
    terminable,
)
from raysys.distill.method import REQUEST_ROWS
from raysys.oracle import Images, Response
from raysys.records import TeacherCard
from raysys.teacher.backend import Meter
from raysys.teacher.journal import open_journal, read_accounts
from raysys.teacher.service import LocalOracle, TeacherService

TOLD = "stopping: every trial's state is on disk; the same signal again ends at once"
HANDLED = (signal.SIGINT, signal.SIGTERM, END_NOW)
TWICE_PROGRAM = """
import os, signal, sys
from raysys.cluster.signals import SoftStop, exit_code, terminable
number = int(sys.argv[1])
try:
    with terminable(), SoftStop() as soft:
        os.kill(os.getpid(), number)
        print(soft.signal.name, soft.exit_code, flush=True)
        os.kill(os.getpid(), number)
        print("still here", flush=True)
except KeyboardInterrupt as end:
    sys.exit(exit_code(end))
"""
GROUP_PROGRAM = """
import os, signal, subprocess, sys
from raysys.cluster.signals import SoftStop, held_back, terminable
with terminable():
    with held_back():
        os.kill(os.getpid(), signal.SIGTERM) if sys.argv[1] == "meanwhile" else None
        signal.signal(signal.SIGTERM, lambda *_: print("a library's handler", flush=True))
        child = subprocess.Popen([sys.executable, "-c", "print(input())"], stdin=subprocess.PIPE)
    with SoftStop() as soft:
        os.killpg(0, signal.SIGTERM)
        print(soft.signal.name, flush=True)
        child.communicate(b"the child lives")
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_only_noted(
    number: signal.Signals, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(handled) for handled in HANDLED]
    with SoftStop() as soft:
        assert (soft.signal, soft.exit_code) == (None, 0)
        os.kill(os.getpid(), number)
        assert (soft.signal, soft.exit_code) == (number, code)
    assert capfd.readouterr().err.strip() == TOLD
    assert [signal.getsignal(handled) for handled in HANDLED] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_at_once(number: signal.Signals) -> None:
    done = run(TWICE_PROGRAM, str(int(number)))
    assert done.stdout == f"{number.name} {128 + number}\n"
    assert done.stderr == f"\n{TOLD}\n"
    assert done.returncode == 128 + number


def test_without_a_first_one_it_ends_at_once_when_asked_to_so() -> None:
    with pytest.raises(Terminated) as end, SoftStop() as soft:
        os.kill(os.getpid(), END_NOW)
    assert soft.exit_code == exit_code(end.value) == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, END_NOW])
def test_where_nothing_can_be_saved_the_first_one_ends_at_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_what_is_started_while_it_is_held_back_outlives_a_signal_to_the_whole_group() -> None:
    done = run(GROUP_PROGRAM, "later")
    assert (done.stdout, done.returncode) == ("SIGTERM\nthe child lives\n", 0), done.stderr


def test_a_signal_that_comes_meanwhile_is_not_lost() -> None:
    assert "Terminated" in run(GROUP_PROGRAM, "meanwhile").stderr
    with pytest.raises(Terminated), terminable(), held_back():
        os.kill(os.getpid(), signal.SIGTERM)


def test_without_a_signal_everything_is_as_before() -> None:
    before = [signal.getsignal(number) for number in HANDLED]
    with SoftStop() as soft:
        pass
    assert soft.exit_code == 0
    assert [signal.getsignal(number) for number in HANDLED] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_while_it_asks_for_the_held_out_images_asks_no_further(
    number: signal.Signals, tmp_path: Path
) -> None:
    images = HeldOut(pictures(2 * REQUEST_ROWS), None)
    card = TeacherCard("linear", "mlp", "0" * 64, None, None)
    nothing: Any = None
    problem = Problem(TASK, nothing, card, images, images)

    class Told(CountingTeacher):
        """A teacher in whose first forward the signal comes."""

        def predict(self, images: Images, meter: Meter) -> Response:
            os.kill(os.getpid(), number)
            return super().predict(images, meter)

    with closing(open_journal(tmp_path)) as journal:
        service = TeacherService(Told(), TASK, "hard", journal)
        oracle = LocalOracle(service, "evaluation", problem.evaluation_queries)
        with pytest.raises(KeyboardInterrupt) as end, terminable(), SoftStop() as soft:
            ask_held_out(problem, oracle, soft.check)
    assert exit_code(end.value) == 128 + number
    account = read_accounts(tmp_path)["evaluation"]
    assert (account.charged, account.executed) == (REQUEST_ROWS, REQUEST_ROWS), "its answer is kept"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_child_that_never_gets_its_sigterm_is_not_waited_for() -> None:
    with held_back():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    with hurried():
        child.terminate()
        assert child.wait(60) == -signal.SIGKILL


def test_a_child_that_gets_no_signal_lives() -> None:
    with held_back():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with hurried():
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert child.poll() is None
    child.communicate(b"end\n", timeout=60)
    assert child.returncode == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_what_was_started_held_back_is_swept_away_with_all_below_it() -> None:
    """Also what is below one that ends meanwhile. Another child lives."""
    parent = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); print(flush=True); input()"
    with held_back():
        ends, stays = (
            subprocess.Popen([sys.executable, "-c", parent, "sleep", "300"], stdin=PIPE, stdout=PIPE)
            for _ in range(2)
        )
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=PIPE)
    assert ends.stdout and stays.stdout
    assert ends.stdout.readline() == stays.stdout.readline() == b"\n"
    below = [psutil.Process(child.pid).children()[0] for child in (ends, stays)]
    with swept():
        ends.kill()
        assert ends.wait(60) == -signal.SIGKILL
        assert all(process.is_running() for process in below)
    assert psutil.wait_procs(below, timeout=60)[1] == []
    assert stays.wait(60) == -signal.SIGKILL
    ends.communicate(timeout=60)
    stays.communicate(timeout=60)
    other.communicate(b"end\n", timeout=60)
    assert other.returncode == 0
