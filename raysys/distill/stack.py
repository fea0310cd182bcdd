"""Networks of the same structure as one: k rows of parameters, and one forward for all of them."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from raysys.data.augment import sent
from raysys.models.optimizer import EPS, MOMENTUM


def structure(network: nn.Module) -> Hashable:
    """Equal for networks that can be stacked: the same layers and shapes, on the same device."""
    state = [*network.named_parameters(), *network.named_buffers()]
    return type(network), repr(network), tuple((name, t.shape, t.dtype, t.device) for name, t in state)


def rows_of(parts: Iterable[Iterable[Tensor]]) -> Tensor:
    """(k, p): for each of the k, its tensors flat, one behind the other."""
    return torch.stack([torch.cat([tensor.detach().reshape(-1) for tensor in part]) for part in parts])


def cut(rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The tensors in rows (k, p), each (k, *shape), with the shapes of `like`: views."""
    parts = torch.split(rows, [tensor.numel() for tensor in like], dim=1)
    return [part.view(-1, *tensor.shape) for part, tensor in zip(parts, like, strict=True)]


@torch.no_grad()
def fill(tensors: Iterable[Tensor], row: Tensor) -> None:
    """Write a row (p,) into the tensors that it was made of, or others of their shapes."""
    own = list(tensors)
    for tensor, new in zip(own, cut(row.unsqueeze(0), own), strict=True):
        tensor.copy_(new[0])


class Stack:
    """k networks of one `structure`, from now on apart from them; all in the mode that the first is in.

    `rows` (k, p) are their parameters. Batch norm in training mode updates the stacked running statistics.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.rows = rows_of(network.parameters() for network in networks)
        self._skeleton = networks[0]
        buffers = [dict(network.named_buffers()) for network in networks]
        self._buffers = {name: torch.stack([one[name] for one in buffers]) for name in buffers[0]}

    def forward(self, part: slice, inputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """Outputs (m, n, ...) of the m networks in `part` for inputs (m, n, ...), each for its own.

        `rows` (m, p) stand for their parameters, so that gradients can be taken.
        """
        names, like = zip(*self._skeleton.named_parameters(), strict=True)
        parameters = dict(zip(names, cut(self.rows[part] if rows is None else rows, like), strict=True))
        buffers = {name: buffer[part] for name, buffer in self._buffers.items()}

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Any:
            return functional_call(self._skeleton, (parameters, buffers), (inputs,))

        outputs: Tensor = vmap(one)(parameters, buffers, inputs)
        return outputs

    @torch.no_grad()
    def write_back(self, networks: Sequence[nn.Module]) -> None:
        """Give the networks that it was made of what became of their parameters and buffers."""
        for number, network in enumerate(networks):
            fill(network.parameters(), self.rows[number])
            for name, buffer in network.named_buffers():
                buffer.copy_(self._buffers[name][number])


def column(values: Iterable[float], device: torch.device) -> Tensor:
    """(k, 1) float32 there: one value for each row."""
    return sent(torch.tensor([[value] for value in values], dtype=torch.float32), device)


def adam_factors(
    steps: Iterable[int], rates: Iterable[float], betas: tuple[float, float]
) -> list[list[float]]:
    """`adam`'s `size` and `scale` for the numbers of steps, from 1, and the learning rates."""
    # The corrections for the zeros that the means start at are computed as torch does: in Python's floats.
    first, second = betas
    factors = [
        (rate / (1 - first**step), (1 - second**step) ** 0.5) for step, rate in zip(steps, rates, strict=True)
    ]
    return [list(each) for each in zip(*factors, strict=True)]


@torch.no_grad()
def adam(
    rows: Tensor,
    gradient: Tensor,
    moments: Sequence[Tensor],
    size: Tensor,
    scale: Tensor,
    betas: tuple[float, float],
) -> None:
    """A step of `optimizer.AdamW` without decay, in place, where each row (k, p) has its factors (k, 1).

    `moments` are its running means of the gradient and of its square, both (k, p).
    """
    first, second = betas
    mean, square = moments
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    rows.sub_(size * mean / (square.sqrt() / scale + EPS))


@torch.no_grad()
def nesterov(
    rows: Tensor,
    gradient: Tensor,
    velocity: Tensor,
    rates: Sequence[float],
    decays: Sequence[float],
) -> None:
    """A step of `optimizer.Nesterov` in place, a rate and a decay for each row (k, p)."""
    here = rows.device
    gradient = gradient + column(decays, here) * rows
    velocity.mul_(MOMENTUM).add_(gradient)
    rows.sub_(column(rates, here) * gradient.add_(velocity, alpha=MOMENTUM))
