"""Tune's events, translated for the run book; and the question whether the run should end."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial

from raysys.cluster.run_book import RunBook
from raysys.records import Report, TrialStatus


class Recorder(Callback):
    """Writes what happens to the trials. Tune pickles callbacks: of this one nothing, it lives here only.

    `stopped` says by uid why the scheduler stopped a trial: Tune asks it before it calls this.
    """

    def __init__(
        self,
        book: RunBook,
        on_tick: Callable[[], None],
        on_end: Callable[[str], object],
        stopped: Mapping[str, str],
    ) -> None:
        self._book = book
        self._on_tick = on_tick
        self._on_end = on_end
        self._stopped = stopped
        self._ended: set[str] = set()
        self._furthest: dict[str, int] = {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker took the trial; perhaps once more, if its last one died between its end and Tune's."""
        if trial.config["uid"] not in self._ended:
            self._book.started(trial.config["uid"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """The trial reports; its last result ends it at once, so that nothing can come in between."""
        uid, reports = trial.config["uid"], result["reports"]
        # Tune keeps each trial's last result until the run ends.
        result["reports"] = []
        result.pop("config", None)
        # Tune may repeat a last result, or the whole trial if its worker died after it.
        if uid in self._ended:
            return
        if reports:
            self._book.reported([Report(**row) for row in reports])
            if reports[-1]["step"] > self._furthest.get(uid, -1):
                self._furthest[uid] = reports[-1]["step"]
                trial.run_metadata.num_failures = 0  # Tune counts those before progress no more
        match result.get("status"):
            case "finished":
                self._ended.add(uid)
                note, sha256 = result["note"], result["weights_sha256"]
                self._book.ended(uid, TrialStatus.FINISHED, error=note, weights_sha256=sha256)
            case "interrupted":
                self._ended.add(uid)
                self._book.troubled(uid, result["error"], result["exit_code"])
            case None if uid in self._stopped:
                self._ended.add(uid)
                self._book.ended(uid, TrialStatus.STOPPED, error=self._stopped[uid])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial failed for good, after its retries; what its worker does after its end does not count."""
        if trial.config["uid"] not in self._ended:
            self._book.ended(trial.config["uid"], TrialStatus.FAILED, error=error_text(trial))
        self._on_end(trial.config["uid"])
        _forget_statistics(trial)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune stopped the trial, or it ended by itself: what it may still have queued is not asked."""
        self._on_end(trial.config["uid"])
        _forget_statistics(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune's loop went round."""
        self._book.tick()
        self._on_tick()

    def __getstate__(self) -> dict[str, Any]:
        return {}


class RunStopper(Stopper):
    """Ends the run softly when `reason` gives one."""

    def __init__(self, reason: Callable[[], str]) -> None:
        self._reason = reason

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """No trial is stopped on its own."""
        return False

    def stop_all(self) -> bool:
        """True when the run should end."""
        return bool(self._reason())

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _forget_statistics(trial: Trial) -> None:
    """Tune keeps those of every number that a trial reported, some 30 kB a trial, for nobody here."""
    trial.run_metadata.metric_analysis.clear()
    trial.run_metadata.metric_n_steps.clear()


def error_text(trial: Trial) -> str:
    """What happened to a failed trial: the error's own line first, then the whole text."""
    path = Path(trial.error_file) if trial.error_file else None
    text = path.read_text().strip() if path and path.exists() else "the trial's worker died"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{lines[-1]}\n{text}"
