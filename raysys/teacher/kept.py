"""A run's own copy of its teacher: what the actor opens, also after a restart, also on another machine."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from pyarrow.fs import FileSystem, LocalFileSystem
from torch import nn

from raysys.errors import UsageError
from raysys.files import read_bytes, write_atomic
from raysys.models.classifiers import Classifier, build_classifier
from raysys.models.weights import load_safetensors, save_safetensors, state_sha256
from raysys.records import Task
from raysys.space.schema import TeacherSpec
from raysys.teacher.local import TorchTeacher
from raysys.teacher.training import open_program


@dataclass(frozen=True)
class KeptTeacher:
    """The teacher in `folder`: small to send, `open` gives the module. Weights, or a copy of the program."""

    folder: str
    spec: TeacherSpec
    task: Task
    filesystem: FileSystem = field(default_factory=LocalFileSystem)

    def keep(self, module: nn.Module) -> None:
        """Put the teacher into the folder. Raises StorageError."""
        if self.spec.program is not None:
            program = Path(self.spec.program).expanduser().read_bytes()
            write_atomic(self.filesystem, self._file, lambda stream: stream.write(program))
        else:
            metadata = {"architecture": str(self.spec.architecture)}
            save_safetensors(module, self._file, metadata, self.filesystem)

    def open(self) -> Classifier:
        """The module in eval mode, on the CPU. Raises UsageError when it cannot be read."""
        if self.spec.program is not None:
            return open_program(self._program(), self._file, self.spec, self.task)
        # Normalisation is part of the saved state.
        module = build_classifier(str(self.spec.architecture), self.task, seed=0)
        load_safetensors(module, self._file, self.filesystem)
        return module.eval()

    def backend(self, device: str) -> TorchTeacher:
        """See `Source.backend`."""
        return TorchTeacher(self.open(), device)

    def sha256(self) -> str:
        """The hash that the teacher's card has."""
        if self.spec.program is not None:
            return hashlib.sha256(self._program()).hexdigest()
        return state_sha256(self.open())

    def _program(self) -> bytes:
        content = read_bytes(self.filesystem, self._file)
        if content is None:
            raise UsageError(f"no teacher at {self._file}", "the file does not exist", "restore it")
        return content

    @property
    def _file(self) -> Path:
        return Path(self.folder) / ("program.pt2" if self.spec.program is not None else "weights.safetensors")
