"""What every distillation method is: it asks an oracle, trains a student, and can stop and go on."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import nn

from raysys.distill.collapse import CollapseDetector
from raysys.distill.engine import ALONE, Engine
from raysys.distill.options import MethodOptions
from raysys.distill.stopwatch import Stopwatch
from raysys.oracle import Images, Response
from raysys.records import Task, TrialConfig

REQUEST_ROWS = 256
"""The most images of one request."""


@dataclass(frozen=True)
class Progress:
    """What a method says when it can be stopped: losses by name, and images worth a look, uint8."""

    losses: Mapping[str, float] = field(default_factory=dict)
    samples: Images | None = None


@dataclass(frozen=True)
class Asked:
    """The images that the teacher was asked, uint8 (n, c, h, w), and its answer to them."""

    images: Images
    response: Response


class Requests(Protocol):
    """How a method's requests reach the teacher, numbered 0, 1, 2, ... in a reproducible order."""

    def ask(self, images: Images, sequence: int) -> Asked | None:
        """Ask as many of the first images as the budgets allow; None if they allow none.

        What was asked may differ from `images`: a repeated request is the one that was made before.
        """
        ...


@dataclass(frozen=True)
class Setting:
    """What a method is given besides its options; the options in `config` are these, not yet checked.

    `images`: real training images, uint8 (n, c, h, w), without labels; None unless the method's options
    declare `needs_images`. `device` is where it computes, `cpu` or `cuda`; `engine` does the heavy parts,
    which it counts by `watch`; what else of `records.PARTS` a method does, it counts itself.
    `on_milestone` is called with the method when so many images are charged as one of the config's
    milestones, before any more are asked.
    """

    config: TrialConfig
    task: Task
    requests: Requests
    device: str = "cpu"
    images: Images | None = None
    on_milestone: Callable[["Method"], None] = lambda method: None
    engine: Engine = ALONE
    watch: Stopwatch = field(default_factory=lambda: Stopwatch(lambda: 0.0))


class Method(ABC):
    """A distillation algorithm as a resumable loop.

    It is built with a `Setting` and its options. Guarantees that each method keeps: it sees no real image
    but those it declares; it asks through `ask` only, and no more once `remaining` is 0; all its randomness
    comes from its seed; when `run` yields, `state_dict` is complete: a new object that loads it and runs
    makes the same requests, with the same sequence numbers, and ends with the same student, bit for bit
    (where floating point differs, on another machine, `Requests` still repeats what was asked).
    """

    def __init__(self, setting: Setting, options: MethodOptions) -> None:
        self.task = setting.task
        self.watch = setting.watch
        self._requests = setting.requests
        self._budget = options.query_budget
        self._milestones = [m for m in setting.config.milestones if m < options.query_budget]
        self._on_milestone = setting.on_milestone
        self._collapse = CollapseDetector(setting.task.num_classes, options.query_budget)
        self.queries = 0
        self._sequence = 0
        self._exhausted = False

    @property
    @abstractmethod
    def student(self) -> nn.Module:
        """The student as it would be delivered now: images (n, c, h, w) in [0, 1] -> logits (n, K)."""

    @property
    def sequence(self) -> int:
        """The number of its next request."""
        return self._sequence

    @property
    @abstractmethod
    def pool_size(self) -> int:
        """Images kept with their answers."""

    def preview(self) -> nn.Module:
        """The student, in eval mode, that would be delivered if the budget ended now. Changes nothing."""
        return copy.deepcopy(self.student).eval()

    @abstractmethod
    def run(self) -> Iterator[Progress]:
        """Work from the present state to the end, yielding wherever the state is complete."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings, lists and dicts only: it is stored without pickle."""
        return {
            "queries": self.queries,
            "sequence": self._sequence,
            "exhausted": self._exhausted,
            "collapse": self._collapse.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()` of an object with the same config."""
        self.queries, self._sequence = state["queries"], state["sequence"]
        self._exhausted = state["exhausted"]
        self._collapse.load_state_dict(state["collapse"])

    @property
    def note(self) -> str:
        """Why no more is asked although the budget would allow it, for a person; else nothing."""
        if not (collapsed := self._collapse.note):
            return ""
        left = self._budget - self.queries
        return f"{collapsed}; {left:,} of {self._budget:,} queries were left unspent"

    @property
    def remaining(self) -> int:
        """Images that may still be asked, as far as the method knows: none once the answers collapsed."""
        return 0 if self._exhausted or self.note else self._budget - self.queries

    def ask(self, images: Images, keep: Callable[[Asked], object] = lambda asked: None) -> Asked | None:
        """What was asked and answered, see `Requests.ask`; after None no more will be asked.

        Requests have at most `REQUEST_ROWS` images, and end at milestones: what a part of many has cost is
        recorded before the next one is asked. `keep` is called with each part as it is answered, so that a
        milestone's student may learn from it.
        """
        parts: list[Asked] = []
        while len(images):
            if self.queries in self._milestones:
                self._milestones.remove(self.queries)
                self._on_milestone(self)
            ahead = (milestone - self.queries for milestone in self._milestones)
            rows = min([REQUEST_ROWS, *(images for images in ahead if images > 0)])
            wanted, images = images[:rows], images[rows:]
            asked = None if self.note else self._requests.ask(wanted, self._sequence)
            if asked is None:
                self._exhausted = True
                break
            self._sequence += 1
            self.queries += len(asked.images)
            parts.append(asked)
            keep(asked)
            if len(asked.images) < len(wanted):
                break
        whole = joined(parts)
        if whole is not None:
            self._collapse.saw(whole.response)
        return whole


def joined(parts: Sequence[Asked]) -> Asked | None:
    """Several requests as one; None of none."""
    if len(parts) < 2:
        return parts[0] if parts else None
    told = [part.response.probabilities for part in parts if part.response.probabilities is not None]
    labels = np.concatenate([part.response.labels for part in parts])
    response = Response(labels, np.concatenate(told) if told else None)
    return Asked(np.concatenate([part.images for part in parts]), response)
