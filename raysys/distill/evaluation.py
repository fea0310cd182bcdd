"""How good a student is on images held out from everybody."""

import numpy as np
import torch
from torch import nn

from raysys.oracle import Images
from raysys.records import EvalSet

ROWS = 128
"""Images a forward: more fall out of a CPU's cache (1024 take 2 to 3 times as long), a GPU loses little."""


@torch.inference_mode()
def predict(student: nn.Module, images: Images) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Top-1 labels int64 (n,) for uint8 images (n, c, h, w); the student's mode is kept."""
    device = next(student.parameters()).device
    was_training = student.training
    student.eval()
    labels = [
        student(torch.tensor(images[start : start + ROWS], device=device).float() / 255).argmax(dim=1).cpu()
        for start in range(0, len(images), ROWS)
    ]
    student.train(was_training)
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = torch.cat(labels).numpy()
    return found


def evaluate(student: nn.Module, held_out: EvalSet) -> tuple[float | None, float]:
    """(accuracy, agreement with the teacher), shares in [0, 1]; no accuracy without labels."""
    found = predict(student, held_out.images)
    accuracy = None if held_out.labels is None else float(np.mean(found == held_out.labels))
    return accuracy, float(np.mean(found == held_out.teacher_labels))
