"""Where a run works and where it lies: nothing here changes what its trials find."""

import socket
from dataclasses import dataclass
from pathlib import Path

from pyarrow.fs import FileType, LocalFileSystem

from raysys.cluster.progress import Mode
from raysys.errors import StorageError, UnreachableError, UsageError
from raysys.store.layout import RunLayout

CONNECT_S = 5.0
"""How long a cluster's head may take to answer."""


@dataclass(frozen=True)
class Machine:
    """Where and how a run works; none of it changes a result but the threads of a trial.

    `concurrent` None: as many trials as the CPUs or GPUs allow. `pack`: trials that share a process and what
    one trial holds of a node; None: as many as its GPU takes. `time_s`: end softly after that many seconds.
    """

    data_root: Path
    cache: Path
    address: str = "local"
    concurrent: int | None = None
    pack: int | None = 1
    time_s: float | None = None
    max_failures: float = 0.1
    progress: Mode = "auto"


def check_address(address: str) -> None:
    """Refuse a HOST:PORT where nobody listens; Ray would try for minutes. Raises UnreachableError.

    Raises UsageError for an address of Ray Client: what Tune tells the driver does not reach it there.
    """
    if address.startswith("ray://"):
        raise UsageError(
            f"--address {address} is one of Ray Client",
            "the driver works with the teacher and the ledger beside it, on a node of the cluster",
            "say --address auto there, or HOST:PORT as ray start --head prints it",
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise UnreachableError(
            f"no Ray cluster at {address}", str(error), "start one there, or use --address local"
        ) from None


def claim(layout: RunLayout) -> None:
    """Create the run's folder. Raises UsageError when it exists, StorageError when it cannot be made."""
    try:
        if isinstance(layout.filesystem, LocalFileSystem):
            layout.root.mkdir(parents=True)
        elif layout.filesystem.get_file_info(str(layout.root)).type is FileType.NotFound:
            layout.filesystem.create_dir(str(layout.root), recursive=True)
        else:
            raise FileExistsError
    except FileExistsError:
        raise UsageError(
            f"the run {layout.location} exists",
            "a run is never written over",
            f"choose another --name; one of raysys tune goes on with: raysys tune --resume {layout.location}",
        ) from None
    except OSError as error:
        raise StorageError(
            f"cannot create {layout.location}",
            str(error.strerror or error).partition("\n")[0],
            "choose another --storage",
        ) from None
