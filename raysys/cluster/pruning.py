"""What is removed from disk as trials end, so that a long run does not fill it."""

import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path

from raysys.records import TrialRecord, TrialStatus
from raysys.store.layout import RunLayout


class Pruner:
    """Removes students that will not be delivered, and checkpoints that nobody goes on from.

    It remembers what it removed: a run calls it whenever a trial ends. Another one looks at everything again.
    """

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        self._gone: set[Path] = set()

    def prune(self, records: Iterable[TrialRecord], kept: Collection[str]) -> None:
        """Of trials that ended, keep the students whose uid is in `kept`.

        Their checkpoints go, but for those of failed trials: `--retry-failed` goes on from them.
        """
        for record in records:
            if not record.status.ended:
                continue
            if record.uid not in kept:
                self._remove(self._layout.students(record.uid))
            if record.status is not TrialStatus.FAILED:
                self._remove(self._layout.checkpoints(record.uid))

    def _remove(self, folder: Path) -> None:
        if folder not in self._gone:
            with contextlib.suppress(OSError):  # not there, or no longer writable: nothing depends on it
                self._layout.filesystem.delete_dir(str(folder))
            self._gone.add(folder)
