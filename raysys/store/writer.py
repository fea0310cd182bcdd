"""What the driver writes while a run goes on."""

from types import TracebackType
from typing import Self

from raysys.records import Report, TrialRecord
from raysys.store.layout import RunLayout
from raysys.store.reader import latest_reports, latest_trials, reports_of, trials_of
from raysys.store.schema import reports_table, trials_table

_BUFFER = 1000
"""Reports held back before they become a part."""

_LOOSE = 256
"""Parts of a table before they are merged, so that a reader opens few files."""


class RunWriter:
    """Writes trials and reports; the only writer of a run's tables at a time.

    Usable as a context manager. Every method that writes raises StorageError; what a reader sees is whole
    at any moment.
    """

    def __init__(self, layout: RunLayout) -> None:
        self._trials = trials_of(layout)
        self._reports = reports_of(layout)
        self._next_trial = self._trials.next_number()
        self._next_report = self._reports.next_number()
        self._buffer: list[Report] = []

    def trial(self, record: TrialRecord) -> None:
        """Write a trial's state; it is durable when this returns, and so are all reports before it."""
        self.flush()
        self._trials.append(trials_table([record]), self._next_trial)
        self._next_trial += 1
        if self._next_trial % _LOOSE == 0:
            self._trials.merge(latest_trials)

    def report(self, report: Report) -> None:
        """Take a report; it is durable after `flush`, `close` or the next `trial`."""
        self._buffer.append(report)
        if len(self._buffer) >= _BUFFER:
            self.flush()

    def flush(self) -> None:
        """Make all reports so far durable."""
        if not self._buffer:
            return
        self._reports.append(reports_table(self._buffer), self._next_report)
        self._buffer.clear()
        self._next_report += 1
        if self._next_report % _LOOSE == 0:
            self._reports.merge(latest_reports)

    def close(self) -> None:
        """Flush, and merge the parts of each table into one."""
        self.flush()
        self._trials.merge(latest_trials)
        self._reports.merge(latest_reports)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
