"""The driver's record of a run: every trial's present row, written to the store as it changes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from raysys.errors import RaysysError
from raysys.records import Report, TrialConfig, TrialRecord, TrialStatus
from raysys.store.writer import RunWriter

FLUSH_S = 1.0
"""Reports wait at most this long before they are on disk."""


@contextmanager
def interrupted_by_force(book: "RunBook") -> Iterator["RunBook"]:
    """Whatever ends a session by force, no trial's row goes on saying `running`."""
    try:
        yield book
    except BaseException:
        with suppress(RaysysError):  # the storage may be what ended it
            book.interrupt()
        raise


class RunBook:
    """Trials by uid; `trouble` says why the run cannot go on, `trouble_code` how it exits.

    `suggested` is durable before it returns, so that no trial starts unrecorded.

    Reports may come twice (a restarted trial sends its earlier ones again); the store keeps one of each.
    """

    def __init__(self, writer: RunWriter, records: Iterable[TrialRecord], clock: Callable[[], float]) -> None:
        self.records = {record.uid: record for record in records}
        self._writer = writer
        self._clock = clock
        self._flushed = clock()
        self.trouble = ""
        self.trouble_code = 1

    def suggested(self, config: TrialConfig) -> None:
        """A trial will start, anew or again. Raises StorageError."""
        known = self.records.get(config.uid)
        record = known or TrialRecord(config.uid, 0, TrialStatus.PENDING, config)
        self._write(replace(record, status=TrialStatus.PENDING, error=""))

    def started(self, uid: str) -> None:
        """A trial runs."""
        self._write(replace(self.records[uid], status=TrialStatus.RUNNING))

    def reported(self, reports: Sequence[Report]) -> None:
        """A trial reports; the last one is its newest."""
        for report in reports:
            self._writer.report(report)
        last = reports[-1]
        self.records[last.uid] = replace(
            self.records[last.uid],
            attempt=last.attempt,
            queries=last.queries,
            val_accuracy=last.val_accuracy,
            agreement=last.agreement,
            seconds=last.seconds,
        )

    def ended(self, uid: str, status: TrialStatus, error: str = "", weights_sha256: str = "") -> None:
        """A trial ended."""
        self._write(replace(self.records[uid], status=status, error=error, weights_sha256=weights_sha256))

    def troubled(self, uid: str, why: str, exit_code: int) -> None:
        """A trial met what no trial can mend (a full disk, a lost teacher): the run should end."""
        self.trouble, self.trouble_code = why, exit_code
        self.ended(uid, TrialStatus.INTERRUPTED)

    def interrupt(self) -> None:
        """Whatever has not ended is interrupted: a resume goes on with it."""
        for uid, record in self.records.items():
            if not record.status.ended:
                self.ended(uid, TrialStatus.INTERRUPTED)

    def tested(self, results: Mapping[str, tuple[float | None, float]]) -> None:
        """Accuracy (None without labels) and agreement on test of trials on the final front, by uid."""
        for uid, (accuracy, agreement) in results.items():
            self._write(replace(self.records[uid], test_accuracy=accuracy, test_agreement=agreement))

    def tick(self) -> None:
        """Bring waiting reports to disk, now and then."""
        if self._clock() - self._flushed >= FLUSH_S:
            self._writer.flush()
            self._flushed = self._clock()

    def share_failed(self, planned: int) -> float:
        """Failed trials as a share of the planned ones."""
        failed = sum(record.status is TrialStatus.FAILED for record in self.records.values())
        return failed / planned if planned else 0.0

    def _write(self, record: TrialRecord) -> None:
        self.records[record.uid] = record
        self._writer.trial(record)
