"""Half precision where the machine computes with it, as opposed to imitating it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 numbers itself: x86 with AVX512-BF16 or AMX, CUDA since Ampere.

    The same in every process of one machine.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context for forwards: with precision `auto` products are bfloat16 where `device` has it, all else
    stays float32; with `float32` it does nothing.
    """
    enabled = precision == "auto" and computes_in_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def autocast_in_vmap(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """As `autocast`, which misses the convolutions within a `torch.func.vmap`."""
    return _Autocast() if precision == "auto" and computes_in_bfloat16(device) else nullcontext()


class _Autocast(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in (F.linear, F.conv2d, F.conv_transpose2d):
            return func(*args, **(kwargs or {}))
        half = [one.bfloat16() if isinstance(one, Tensor) else one for one in args]
        return func(*half, **(kwargs or {})).float()  # batch norm takes no mixture within vmap
