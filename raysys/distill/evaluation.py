"""How good a student is on images held out from everybody."""

import math

import numpy as np
import torch
from torch import nn

from raysys.oracle import Images
from raysys.records import EvalSet

ROWS = 128
"""Images a forward: more fall out of a CPU's cache (1024 take 2 to 3 times as long), a GPU loses little."""


@torch.inference_mode()
def predict(student: nn.Module, images: Images) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Top-1 labels int64 (n,) for uint8 images (n, c, h, w); the student's mode is kept.

    -1 where an output is NaN: argmax would call it a class.
    """
    device = next(student.parameters()).device
    was_training = student.training
    student.eval()
    labels = [
        _top1(student(torch.tensor(images[start : start + ROWS], device=device).float() / 255)).cpu()
        for start in range(0, len(images), ROWS)
    ]
    student.train(was_training)
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = torch.cat(labels).numpy()
    return found


def evaluate(student: nn.Module, held_out: EvalSet) -> tuple[float | None, float]:
    """(accuracy, agreement with the teacher), shares in [0, 1]; no accuracy without labels.

    Both are NaN for a student that says NaN to any image: it has diverged, and is on no front.
    """
    found = predict(student, held_out.images)
    if (found < 0).any():
        return None if held_out.labels is None else math.nan, math.nan
    accuracy = None if held_out.labels is None else float(np.mean(found == held_out.labels))
    return accuracy, float(np.mean(found == held_out.teacher_labels))


def _top1(logits: torch.Tensor) -> torch.Tensor:
    return logits.argmax(dim=1).where(~logits.isnan().any(dim=1), -1)
