"""`raysys` as a user starts it: in processes of its own, below a folder, with a cache of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysys.records import EVALUATION, TrialRecord
from raysys.store.reader import read_run
from raysys.teacher.journal import read_accounts

PATIENCE_S = 240

DIGITS = {
    "dataset": "digits",
    "teacher": {"architecture": "mlp", "recipe": {"epochs": 20, "lr": 3.0e-3, "optimizer": "adamw"}},
    "student": "mlp",
}
"""What spaces of small runs begin with: a teacher that is trained within a second."""


class Shell:
    """Runs `raysys` below a folder, where runs are in `runs`. `more` is added to the environment."""

    def __init__(self, folder: Path, more: Mapping[str, str] = {}) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            **more,
        }
        self.environment.pop("RAYSYS_STORAGE", None)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "raysys", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code, err + out
        return out, err

    def run_path(self, name: str) -> Path:
        return self.folder / "runs" / name


def trials(run: Path) -> list[TrialRecord]:
    return sorted(read_run(run).records(), key=lambda record: record.uid)


def same(record: TrialRecord) -> tuple[Any, ...]:
    """All of a trial that its time and its attempts do not decide."""
    reached = (record.val_accuracy, record.agreement, record.test_accuracy, record.weights_sha256)
    return record.config, record.status, record.queries, reached, record.error


def charged_by_trials(run: Path) -> int:
    accounts = read_accounts(run / "ledger")
    return sum(account.charged for uid, account in accounts.items() if uid != EVALUATION)


def wait_for_charges(process: subprocess.Popen[str], run: Path, images: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while charged_by_trials(run) < images:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run asked nothing"
        time.sleep(0.02)
