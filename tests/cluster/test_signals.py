import os
import signal
import subprocess
import sys

import pytest

from raysys.cluster.signals import SoftStop

TOLD = "stopping: every trial's state is on disk; the same signal again ends at once"
TWICE_PROGRAM = """
import os, signal, sys
from raysys.cluster.signals import SoftStop
number = int(sys.argv[1])
signal.signal(number, signal.SIG_DFL)  # a shell may have started the tests with SIGINT ignored
with SoftStop() as soft:
    os.kill(os.getpid(), number)
    print(soft.signal.name, soft.exit_code, flush=True)
    os.kill(os.getpid(), number)
    print("still here", flush=True)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_only_noted(
    number: signal.Signals, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with SoftStop() as soft:
        assert (soft.signal, soft.exit_code) == (None, 0)
        os.kill(os.getpid(), number)
        assert (soft.signal, soft.exit_code) == (number, code)
        assert signal.getsignal(number) == before, "the second one has its old effect"
    assert capfd.readouterr().err.strip() == TOLD
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_the_process(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE_PROGRAM, str(int(number))], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"{number.name} {128 + number}\n"
    assert done.stderr.startswith(f"\n{TOLD}\n")
    assert done.returncode == -number


def test_without_a_signal_everything_is_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with SoftStop() as soft:
        pass
    assert soft.exit_code == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
