"""Optimizers of students, generators and teachers: torch's fused updates, through its functions.

The classes of `torch.optim` import torch's compiler, 1.7 s of a process's time on a CPU and 80 MB, and spend
more on the way to a small network's update than the update itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

MOMENTUM = 0.9
BETAS = (0.9, 0.999)
EPS = 1e-8


class Optimizer(ABC):
    """Updates `parameters`. `rate`, the learning rate, may be set before any step; `decay` is of weights."""

    state: Sequence[list[Tensor]]
    """What the steps so far left: lists with a tensor for each parameter."""
    torch_names: ClassVar[Sequence[str]]
    """What the optimizers of `torch.optim` call these lists."""

    def __init__(self, parameters: Iterable[Tensor], rate: float, decay: float = 0.0) -> None:
        self.rate = rate
        self._decay = decay
        self._parameters = list(parameters)

    @torch.no_grad()
    def step(self) -> None:
        """Use up the gradients: every parameter must have one, and has none afterwards."""
        self._update([each.grad for each in self._parameters if each.grad is not None])
        self.zero_grad()

    def zero_grad(self) -> None:
        """No parameter has a gradient any more."""
        for parameter in self._parameters:
            parameter.grad = None

    @abstractmethod
    def _update(self, gradients: list[Tensor]) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """The rate, and the state."""
        return {"rate": self.rate, "state": list(self.state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state: of this, or of an optimizer of `torch.optim`, as trials once had."""
        if "param_groups" in state:
            self.rate = state["param_groups"][0]["lr"]
            saved = [[one[name] for one in state["state"].values()] for name in self.torch_names]
            strict = bool(state["state"])  # nothing before the first step
        else:
            self.rate, saved, strict = state["rate"], state["state"], True
        for mine, values in zip(self.state, saved, strict=True):
            for tensor, value in zip(mine, values, strict=strict):
                tensor.copy_(value)


class Nesterov(Optimizer):
    """SGD with Nesterov's momentum; `state` is the momentum."""

    torch_names = ("momentum_buffer",)

    def __init__(self, parameters: Iterable[Tensor], rate: float, decay: float = 0.0) -> None:
        super().__init__(parameters, rate, decay)
        self.state = ([torch.zeros_like(each) for each in self._parameters],)

    def _update(self, gradients: list[Tensor]) -> None:
        sgd(
            self._parameters,
            gradients,
            [*self.state[0]],
            fused=True,
            weight_decay=self._decay,
            momentum=MOMENTUM,
            lr=self.rate,
            dampening=0,
            nesterov=True,
            maximize=False,
        )


class AdamW(Optimizer):
    """AdamW (Loshchilov and Hutter 2019), which is Adam where `decay` is 0.

    `state` has the mean gradients, the mean squared gradients, and the numbers of steps.
    """

    torch_names = ("exp_avg", "exp_avg_sq", "step")

    def __init__(
        self,
        parameters: Iterable[Tensor],
        rate: float,
        decay: float = 0.0,
        betas: tuple[float, float] = BETAS,
    ) -> None:
        super().__init__(parameters, rate, decay)
        self._betas = betas
        means, squares = ([torch.zeros_like(each) for each in self._parameters] for _ in range(2))
        self.state = means, squares, [torch.zeros((), device=each.device) for each in self._parameters]

    def _update(self, gradients: list[Tensor]) -> None:
        means, squares, steps = self.state
        adamw(
            self._parameters,
            gradients,
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=self.rate,
            weight_decay=self._decay,
            eps=EPS,
            maximize=False,
        )


def make_optimizer(
    name: Literal["adamw", "sgd"], parameters: Iterable[Tensor], rate: float, decay: float
) -> Optimizer:
    """The one that a recipe names."""
    kind = AdamW if name == "adamw" else Nesterov
    return kind(parameters, rate, decay)
