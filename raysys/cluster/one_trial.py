"""One trial of a run, wherever it runs: in a Ray worker or in this process. No Ray here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raysys.cluster.trial_files import TrialFiles
from raysys.distill.engine import ALONE, Engine
from raysys.distill.trial import run_trial
from raysys.oracle import Images, Oracle
from raysys.records import EvalSet, Report, Task, TrialConfig
from raysys.store.layout import RunLayout


@dataclass(frozen=True)
class Delivered:
    """A finished trial whose student is saved."""

    reports: Sequence[Report]
    weights_sha256: str
    note: str


def run_one(
    config: TrialConfig,
    task: Task,
    open_oracle: Callable[[str, int], Oracle],
    val: EvalSet,
    layout: RunLayout,
    on_reports: Callable[[Sequence[Report]], None],
    clock: Callable[[], float],
    device: str,
    images: Images | None = None,
    engine: Engine = ALONE,
) -> Delivered:
    """Run a trial from wherever its files say it stands, and save its student.

    `images`, `engine`: see `raysys.distill.trial.run_trial`; `note`: see `raysys.distill.trial.Outcome`.
    """
    files = TrialFiles(layout, config.uid)
    oracle = open_oracle(config.uid, int(config.options["query_budget"]))
    outcome = run_trial(config, task, oracle, val, files, on_reports, clock, device, images, engine)
    sha256 = files.save_student(outcome.student, config)
    return Delivered(outcome.reports, sha256, outcome.note)
