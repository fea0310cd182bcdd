"""A run's own copy of its teacher: what the actor opens, also after a restart, also on another machine."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from raysys.models.classifiers import Classifier, build_classifier
from raysys.models.weights import load_safetensors, save_safetensors, state_sha256, write_atomically
from raysys.records import Task
from raysys.space.schema import TeacherSpec
from raysys.teacher.local import TorchTeacher
from raysys.teacher.training import file_sha256, open_program


@dataclass(frozen=True)
class KeptTeacher:
    """The teacher in `folder`: small to send, `open` gives the module. Weights, or a copy of the program."""

    folder: str
    spec: TeacherSpec
    task: Task

    def keep(self, module: nn.Module) -> None:
        """Put the teacher into the folder. Raises StorageError."""
        if self.spec.program is not None:
            write_atomically(self._file, Path(self.spec.program).expanduser().read_bytes())
        else:
            save_safetensors(module, self._file, {"architecture": str(self.spec.architecture)})

    def open(self) -> Classifier:
        """The module in eval mode, on the CPU. Raises UsageError when it cannot be read."""
        if self.spec.program is not None:
            return open_program(self._file, self.spec, self.task)
        # Normalisation is part of the saved state.
        module = build_classifier(str(self.spec.architecture), self.task, seed=0)
        load_safetensors(module, self._file)
        return module.eval()

    def backend(self, device: str) -> TorchTeacher:
        """See `Source.backend`."""
        return TorchTeacher(self.open(), device)

    def sha256(self) -> str:
        """The hash that the teacher's card has."""
        return file_sha256(self._file) if self.spec.program is not None else state_sha256(self.open())

    @property
    def _file(self) -> Path:
        return Path(self.folder) / ("program.pt2" if self.spec.program is not None else "weights.safetensors")
