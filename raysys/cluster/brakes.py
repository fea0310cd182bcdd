"""When a run should end, and how it did: decisions only, the driver acts on them."""

from collections.abc import Callable
from dataclasses import dataclass

from raysys.cluster.caps import told
from raysys.cluster.machine import Machine
from raysys.cluster.run_book import RunBook
from raysys.cluster.signals import SoftStop
from raysys.store.manifest import Manifest, RunState


@dataclass(frozen=True)
class Ended:
    """How a run ended; `reason` says why it ended early, `exit_code` is the process's.

    `spent`: nothing more can be asked under the run's caps on queries and cost.
    """

    state: RunState
    exit_code: int
    reason: str
    spent: bool = False


class Brakes:
    """Why a run should end before its trials have, and how it ended."""

    def __init__(
        self, soft: SoftStop, machine: Machine, manifest: Manifest, book: RunBook, clock: Callable[[], float]
    ) -> None:
        self._soft = soft
        self._machine = machine
        self._manifest = manifest
        self._book = book
        self._clock = clock

    def reason(self) -> str:
        """Empty while the run should go on."""
        if self._soft.signal:
            return f"interrupted by {self._soft.signal.name}"
        if self._book.trouble:
            return self._book.trouble
        time_s = self._machine.time_s
        if time_s is not None and self._clock() > time_s:
            return f"the time of {time_s:g} s is over"
        failed = self._book.share_failed(self._manifest.trials)
        if failed > self._machine.max_failures:
            return f"{failed:.0%} of the trials failed, more than {self._machine.max_failures:.0%}"
        return ""

    def ended(self, cap_reached: bool) -> Ended:
        """How the run ended, after its trials have."""
        reason = self.reason()
        done = sum(record.status.ended for record in self._book.records.values())
        if self._soft.signal:
            return Ended(RunState.INTERRUPTED, self._soft.exit_code, reason)
        if self._book.trouble:
            return Ended(RunState.INTERRUPTED, self._book.trouble_code, reason)
        if self._book.share_failed(self._manifest.trials) > self._machine.max_failures:
            return Ended(RunState.FAILED, 3, reason)
        if done >= self._manifest.trials:
            return Ended(RunState.FINISHED, 0, "")
        if reason:
            return Ended(RunState.CAPPED, 4, reason)
        if cap_reached:
            reason = f"the cap of {told(self._manifest.caps)} is reached"
            return Ended(RunState.CAPPED, 4, reason, spent=True)
        return Ended(
            RunState.FAILED, 1, f"only {done} of {self._manifest.trials} trials ended: see the run's log"
        )
