"""Every path of a run, in one place."""

from dataclasses import dataclass, field
from pathlib import Path

from pyarrow.fs import FileSystem, LocalFileSystem


def open_storage(path_or_uri: str | Path) -> tuple[FileSystem, Path]:
    """Filesystem and path in it of a local path or of a URI that `pyarrow.fs` knows (s3://, gs://, ...)."""
    if "://" in str(path_or_uri):
        filesystem, path = FileSystem.from_uri(str(path_or_uri))
        return filesystem, Path(path)
    return LocalFileSystem(), Path(path_or_uri).expanduser().absolute()


@dataclass(frozen=True)
class RunLayout:
    """Where everything of a run lies below `root`, a path in `filesystem`."""

    root: Path
    filesystem: FileSystem = field(default_factory=LocalFileSystem)

    @classmethod
    def open(cls, path_or_uri: str | Path) -> "RunLayout":
        """The layout of the run at a local path or URI; nothing is read or written."""
        filesystem, root = open_storage(path_or_uri)
        return cls(root, filesystem)

    @property
    def run_json(self) -> Path:
        """The manifest."""
        return self.root / "run.json"

    @property
    def lock(self) -> Path:
        """The file that keeps a second driver of this machine out."""
        return self.root / "lock"

    @property
    def driver(self) -> Path:
        """Who works on the run, and when it last showed a sign of life."""
        return self.root / "driver.json"

    @property
    def stop(self) -> Path:
        """The wish that the driver ends."""
        return self.root / "stop.json"

    @property
    def trials(self) -> Path:
        """Parts of the trials table."""
        return self.root / "trials"

    @property
    def reports(self) -> Path:
        """Parts of the reports table."""
        return self.root / "reports"

    @property
    def ledger(self) -> Path:
        """The teacher's journal."""
        return self.root / "ledger"

    @property
    def warm_start(self) -> Path:
        """Trials of earlier runs that the search began with."""
        return self.root / "warm_start.parquet"

    @property
    def teacher(self) -> Path:
        """The run's own copy of its teacher."""
        return self.root / "teacher"

    @property
    def samples(self) -> Path:
        """What the generators make."""
        return self.root / "samples"

    @property
    def tune(self) -> Path:
        """Ray Tune's own state."""
        return self.root / "tune"

    @property
    def log(self) -> Path:
        """The driver's log."""
        return self.root / "raysys.log"

    def students(self, uid: str) -> Path:
        """The saved student of a trial."""
        return self.root / "students" / uid

    def pairs(self, uid: str) -> Path:
        """What the trial of a saved student paid for."""
        return self.students(uid) / "pairs.parquet"

    def checkpoints(self, uid: str) -> Path:
        """The state from which a trial goes on."""
        return self.root / "checkpoints" / uid
