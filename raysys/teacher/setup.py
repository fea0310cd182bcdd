"""All that a run's teacher service is made of: small enough to send to the machine that will hold it."""

from dataclasses import dataclass, field
from pathlib import Path

from pyarrow.fs import FileSystem

from raysys.records import Task
from raysys.teacher.backend import Backend, Source
from raysys.teacher.journal import Journal, open_journal
from raysys.teacher.limits import LimitedTeacher
from raysys.teacher.service import Caps, TeacherService


@dataclass(frozen=True)
class TeacherSetup:
    """Where the teacher comes from, what it tells, and where its ledger lies.

    `filesystem` holds the folder `ledger` (None: the local one). `num_gpus` is the share of a GPU of each
    network: the actor's own, or each replica's. `log` is a file for what another process than the driver has
    to warn of.
    """

    source: Source
    task: Task
    response: str
    ledger: Path
    filesystem: FileSystem | None = None
    caps: Caps = field(default_factory=Caps)
    top_k: int | None = None
    decimals: int | None = None
    replicas: int = 1
    num_gpus: float = 0.0
    log: Path | None = None

    @property
    def device(self) -> str:
        """Where a network works."""
        return "cuda" if self.num_gpus else "cpu"

    def journal(self) -> Journal:
        """The ledger's journal, for the one writer. Raises StorageError."""
        return open_journal(self.ledger, self.filesystem)

    def service(self, backend: Backend, journal: Journal) -> TeacherService:
        """The door before `backend`. Raises CorruptRunError when the journal is damaged."""
        if self.top_k is not None or self.decimals is not None:
            backend = LimitedTeacher(backend, self.top_k, self.decimals)
        return TeacherService(backend, self.task, self.response, journal, self.caps)
