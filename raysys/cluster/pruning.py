"""What is removed from disk as trials end, so that a long run does not fill it."""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from raysys.errors import StorageError
from raysys.files import list_folder
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
        unwanted = {folder for record in records for folder in self._unwanted(record, kept)} - self._gone
        with contextlib.suppress(OSError, StorageError):  # no longer writable: nothing depends on it
            for folder in unwanted & self._present({folder.parent for folder in unwanted}):
                self._layout.filesystem.delete_dir(str(folder))
            self._gone |= unwanted

    def _unwanted(self, record: TrialRecord, kept: Collection[str]) -> Iterator[Path]:
        if not record.status.ended:
            return
        if record.uid not in kept:
            yield self._layout.students(record.uid)
        if record.status is not TrialStatus.FAILED:
            yield self._layout.checkpoints(record.uid)

    def _present(self, parents: Iterable[Path]) -> set[Path]:
        """What lies in these folders. An object store tells that as fast as whether one of them is there."""
        listings = (list_folder(self._layout.filesystem, parent) for parent in parents)
        return {Path(info.path) for infos in listings for info in infos}
