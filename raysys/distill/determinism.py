"""The same seed gives the same student: torch's part in that."""

import torch


def compute_deterministically() -> None:
    """From now on torch takes deterministic algorithms where it has them, and warns where it has none.

    `torch.use_deterministic_algorithms` would import torch's compiler: 1.9 s of a process's time on a CPU.
    """
    torch.set_deterministic_debug_mode("warn")
    # Else every new tensor is filled before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
