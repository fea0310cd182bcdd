"""Every path of a run, in one place."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from pyarrow.fs import FileSystem, FileType, LocalFileSystem

from raysys.errors import RaysysError, UnreachableError, UsageError

_NO_ACCESS = ("ACCESS_DENIED", "ACCESS_KEY", "SIGNATURE", "TOKEN", "status 401", "status 403")


def open_storage(path_or_uri: str | Path) -> tuple[FileSystem, Path]:
    """Filesystem and path in it of a local path or of a URI that `pyarrow.fs` knows (s3://, gs://, ...).

    A URI's endpoint is asked for the bucket. Raises UsageError for a URI, bucket or credentials that cannot
    be used, UnreachableError where nobody answers.
    """
    uri = str(path_or_uri)
    if "://" not in uri:
        return LocalFileSystem(), Path(path_or_uri).expanduser().absolute()
    parts = urlsplit(uri)
    if parts.password is not None:
        raise UsageError(
            f"a secret stands in the URI {parts.scheme}://...@{parts.hostname}",
            "command lines and run.json are read by others",
            "take it out: credentials come from the environment, e.g. AWS_ACCESS_KEY_ID",
        )
    ours = [option for option in _options(parts.scheme) if option.partition("=")[0] not in parts.query]
    query = "&".join([parts.query, *ours] if parts.query else ours)
    try:
        filesystem, path = FileSystem.from_uri(f"{uri.partition('?')[0]}{query and '?'}{query}")
        root = Path(path)
        if not isinstance(filesystem, LocalFileSystem):
            if not root.parts:
                raise ValueError("it names no bucket")
            bucket = filesystem.get_file_info(root.parts[0])
            if bucket.type is FileType.NotFound:
                raise UsageError(
                    f"there is no bucket {bucket.path}",
                    f"asked for {path_or_uri}",
                    "make it, or name another",
                )
    except (OSError, ValueError) as failure:
        raise _refused(str(path_or_uri), str(failure).partition("\n")[0]) from None
    return filesystem, root


def _options(scheme: str) -> list[str]:
    """What a URI is opened with, unless it says otherwise."""
    if scheme == "gs":
        return ["retry_limit_seconds=15"]  # by itself, 15 minutes
    if scheme != "s3":
        return []
    # pyarrow knows these variables, too, but would not tell other machines of them.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    named = [f"endpoint_override={quote(endpoint, safe='')}"] if endpoint else []
    return ["allow_delayed_open=true", *named]  # a small object in one request instead of three


def _refused(uri: str, why: str) -> RaysysError:
    """What it means to a person that a URI cannot be opened."""
    if "NETWORK_CONNECTION" in why or "curl" in why.lower():
        hint = (
            "is the server up? another one than the provider's: s3://BUCKET/PATH?endpoint_override=HOST:PORT"
        )
        return UnreachableError(f"nobody answers at the endpoint of {uri}", why, hint)
    if any(word in why for word in _NO_ACCESS):
        return UsageError(
            f"no access to {uri}",
            why,
            "credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
        )
    return UsageError(f"cannot open {uri}", why, "use a folder, or a URI such as s3://BUCKET/PATH")


def inside(location: str, name: str) -> str:
    """The folder `name` of a local path or URI; a URI keeps its query."""
    path, mark, query = location.partition("?") if "://" in location else (location, "", "")
    return f"{path.rstrip('/')}/{name}{mark}{query}"


@dataclass(frozen=True)
class RunLayout:
    """Where everything of a run lies below `root`, a path in `filesystem`.

    `uri` is what it was opened with, empty for a local path. It can be sent to another machine.
    """

    root: Path
    filesystem: FileSystem = field(default_factory=LocalFileSystem, repr=False)
    uri: str = ""

    @classmethod
    def open(cls, path_or_uri: str | Path) -> "RunLayout":
        """The layout of the run at a local path or URI; nothing of it is read or written.

        Raises UsageError, UnreachableError as `open_storage` does.
        """
        filesystem, root = open_storage(path_or_uri)
        return cls(root, filesystem, "" if isinstance(filesystem, LocalFileSystem) else str(path_or_uri))

    @property
    def name(self) -> str:
        """The run's name: its folder."""
        return self.root.name

    @property
    def location(self) -> str:
        """What a person gives to a command for this run: a local path, or the URI with its query."""
        return self.uri or str(self.root)

    @property
    def storage(self) -> str:
        """The location of the folder that holds the run."""
        path, mark, query = self.uri.partition("?")
        return f"{path.rstrip('/').rpartition('/')[0]}{mark}{query}" if self.uri else str(self.root.parent)

    @property
    def run_json(self) -> Path:
        """The manifest."""
        return self.root / "run.json"

    @property
    def previous_run_json(self) -> Path:
        """The manifest before it, for the time when that one is damaged."""
        return self.root / "run.json.previous"

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
