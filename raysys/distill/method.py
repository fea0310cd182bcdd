"""What every distillation method is: it asks an oracle, trains a student, and can stop and go on."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from raysys.oracle import BudgetExhausted, Images, Oracle, Response
from raysys.records import Task


@dataclass(frozen=True)
class Progress:
    """What a method says when it can be stopped: losses by name, and images worth a look, uint8."""

    losses: Mapping[str, float] = field(default_factory=dict)
    samples: Images | None = None


class Method(ABC):
    """A distillation algorithm as a resumable loop.

    Guarantees that each method keeps: it sees no real image; it asks through `ask` only; all its randomness
    comes from its seed; when `run` yields, `state_dict` is complete: a new object that loads it and runs
    makes the same requests, with the same sequence numbers, and ends with the same student, bit for bit.
    """

    def __init__(self, task: Task, oracle: Oracle, budget: int) -> None:
        self.task = task
        self._oracle = oracle
        self._budget = budget
        self.queries = 0
        self._sequence = 0
        self._exhausted = False

    @property
    @abstractmethod
    def student(self) -> nn.Module:
        """The student as it would be delivered now: images (n, c, h, w) in [0, 1] -> logits (n, K)."""

    @property
    @abstractmethod
    def pool_size(self) -> int:
        """Images kept with their answers."""

    @abstractmethod
    def run(self) -> Iterator[Progress]:
        """Work from the present state to the end, yielding wherever the state is complete."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings, lists and dicts only: it is stored without pickle."""
        return {"queries": self.queries, "sequence": self._sequence, "exhausted": self._exhausted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()` of an object with the same config."""
        self.queries, self._sequence = state["queries"], state["sequence"]
        self._exhausted = state["exhausted"]

    @property
    def remaining(self) -> int:
        """Images that may still be asked, as far as the method knows."""
        return 0 if self._exhausted else self._budget - self.queries

    def ask(self, images: Images) -> Response | None:
        """The teacher's answer to all images, or None: refused as a whole, and no more will be asked."""
        reply = self._oracle.ask(images, self._sequence)
        if isinstance(reply, BudgetExhausted):
            self._exhausted = True
            return None
        self._sequence += 1
        self.queries += len(images)
        return reply
