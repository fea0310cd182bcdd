import subprocess
import sys
from pathlib import Path

import pytest

from raysys.cluster.lock import run_lock
from raysys.errors import ResumeError
from raysys.store.layout import RunLayout

HOLD_PROGRAM = """
import sys
from pathlib import Path
from raysys.cluster.lock import run_lock
from raysys.store.layout import RunLayout
with run_lock(RunLayout(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    command = [sys.executable, "-c", HOLD_PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        message = rf'another process works on {tmp_path}\n  its owner is .*"pid": {owner.pid}'
        with pytest.raises(ResumeError, match=message), run_lock(layout):
            pass
        owner.kill()
        owner.wait()
        with run_lock(layout):
            pass


def test_it_is_free_again_after_its_block_also_after_an_error(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    with pytest.raises(ValueError, match="boom"), run_lock(layout):
        raise ValueError("boom")
    with run_lock(layout), pytest.raises(ResumeError, match="another process"), run_lock(layout):
        pass
