"""Methods that do next to nothing, or misbehave, as an installed package brings them to Ray's workers."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from raysys.distill.method import Method, Progress, Setting
from raysys.distill.options import GROUP, MethodOptions
from raysys.models.classifiers import build_classifier

TESTS = Path(__file__).parent


def install(folder: Path) -> dict[str, str]:
    """The environment of a process that finds this module's methods, as entry points of a package."""
    package = folder / "made_up-1.0.dist-info"
    package.mkdir(parents=True, exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: made_up\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        f"[{GROUP}]\nidle = made_up:IdleOptions\nmoody = made_up:MoodyOptions\n"
    )
    path = os.pathsep.join([str(folder), str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


class IdleOptions(MethodOptions):
    implementation: ClassVar[str] = "made_up:Idle"
    reports: int = 1
    a: float = 0.0
    b: float = 0.0


class Idle(Method):
    """Asks its budget in one request of random pixels, learns nothing, and tells so `reports` times."""

    def __init__(self, setting: Setting, options: Any) -> None:
        super().__init__(setting, options)
        self._student = build_classifier(setting.config.student, setting.task, seed=setting.config.seed)
        self._seed = setting.config.seed
        self._reports = options.reports
        self._told = 0

    @property
    def student(self) -> nn.Module:
        return self._student

    @property
    def pool_size(self) -> int:
        return self.queries

    def run(self) -> Iterator[Progress]:
        if not self.queries:
            shape = (self._budget, *self.task.image_shape)
            self.ask(np.random.default_rng(self._seed).integers(0, 256, shape, np.uint8))
        while self._told < self._reports:
            self._told += 1
            yield Progress({"student": 0.0})

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "told": self._told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._told = state["told"]


class MoodyOptions(IdleOptions):
    implementation: ClassVar[str] = "made_up:Moody"
    reports: int = 2
    mood: Literal["well", "refuses", "breaks", "dies", "diverges", "dawdles"] = "well"


class Moody(Idle):
    """What goes wrong follows from `mood`; `dies` takes the worker with it, once."""

    def __init__(self, setting: Setting, options: Any) -> None:
        super().__init__(setting, options)
        self._mood = options.mood
        self._restored = False
        if self._mood == "refuses":
            raise RuntimeError("refused to start")
        if self._mood == "diverges":
            with torch.no_grad():
                next(self._student.parameters()).fill_(torch.nan)

    def run(self) -> Iterator[Progress]:
        for progress in super().run():
            if self._mood == "breaks" and self._told > 1:
                raise ValueError("broke after a report")
            yield progress
            if self._mood == "dies" and not self._restored:
                os._exit(1)
            if self._mood == "dawdles":
                time.sleep(2)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._restored = True
