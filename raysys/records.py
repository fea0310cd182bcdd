"""Frozen records that cross packages. Plain data: no torch, no ray, no files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Scalar = int | float | str | bool
"""A value of one parameter."""

EVALUATION = "evaluation"
"""The ledger account that pays for the teacher's answers on val and test."""

REST = "rest"
PARTS = ("generate", "train", "ask", "evaluate", "save", REST)
"""What a trial's seconds go to: making images, training the student, waiting for the teacher's answers,
evaluating the student for a report, writing files, and all else."""


class TrialStatus(StrEnum):
    """Life of a trial.

    pending -> running -> finished      ended by itself, also when its budget was spent
                       -> stopped       by the scheduler
                       -> failed        by an error, after its retries
                       -> interrupted   the run ended before the trial did; a resume goes on with it
    """

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """True when a resume has nothing left to do for the trial."""
        return self in (TrialStatus.FINISHED, TrialStatus.STOPPED, TrialStatus.FAILED)


@dataclass(frozen=True)
class Task:
    """What a trial may know of the problem: the teacher's input contract, not its data.

    `image_shape` is (channels, height, width); images are uint8, or float32 in [0, 1].
    `flip` says whether a mirrored image keeps its class (never for digits).
    """

    dataset: str
    image_shape: tuple[int, int, int]
    num_classes: int
    flip: bool


@dataclass(frozen=True)
class TrialConfig:
    """Everything that determines a trial: the same config gives the same student.

    `options` are the method's options by name, complete (defaults filled in). At each of the `milestones`,
    in images charged, rising, the trial reports what it would deliver if its budget ended there.
    """

    uid: str
    method: str
    response: str
    student: str
    seed: int
    options: Mapping[str, Scalar]
    milestones: tuple[int, ...] = ()

    @cached_property
    def options_json(self) -> str:
        """The options as JSON text, the same for equal ones."""
        return json.dumps(dict(self.options), sort_keys=True)

    @property
    def recipe(self) -> tuple[str, str, str, str]:
        """All that decides the trial but its seed: trials of one recipe are one point together."""
        return self.method, self.response, self.student, self.options_json


@dataclass(frozen=True)
class EvalSet:
    """A held-out split with the teacher's answers.

    `images` uint8 (n, c, h, w); `labels` and `teacher_labels` int64 (n,); `labels` is None for images that
    nobody labelled.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    teacher_labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Report:
    """One row of a trial's curve. `queries` counts images charged so far, `seconds` the work so far.

    `seconds_by` says where they went, by `PARTS`; it is empty where an older raysys did not tell.
    `val_accuracy` is None where the held-out images have no labels. `milestone`: it is of the student that
    these queries would deliver, at one of the trial's milestones, and not of the one that is being trained.
    """

    uid: str
    attempt: int
    step: int
    queries: int
    val_accuracy: float | None
    agreement: float
    pool_size: int
    seconds: float
    losses: Mapping[str, float] = field(default_factory=dict)
    milestone: bool = False
    seconds_by: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialRecord:
    """One row of the trials table; `None` where a value does not exist (yet).

    `error` says why a trial failed or was stopped; of a finished one, that its student diverged (what it
    reached is NaN), or why it asked less than its budget allowed. The numbers of a stopped one are those of
    its last milestone (see `Report.milestone`).
    """

    uid: str
    attempt: int
    status: TrialStatus
    config: TrialConfig
    queries: int = 0
    val_accuracy: float | None = None
    agreement: float | None = None
    test_accuracy: float | None = None
    test_agreement: float | None = None
    seconds: float = 0.0
    error: str = ""
    weights_sha256: str = ""


@dataclass(frozen=True)
class TeacherCard:
    """What a run knows of its teacher: id, hash of its weights, accuracies in [0, 1] where they are known."""

    id: str
    architecture: str
    sha256: str
    val_accuracy: float | None
    test_accuracy: float | None

    def as_dict(self) -> dict[str, Any]:
        """The card as JSON data."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Account:
    """One account of the ledger: a trial's uid, or `evaluation`. All counts are images.

    `charged` counts unique queries, `executed` physical teacher forwards, `budget` is the most the
    account may charge.
    """

    uid: str
    charged: int
    executed: int
    budget: int
