"""Which of many candidate images are worth a query: chosen by the student, without asking."""

import torch
from torch import Tensor, nn

from raysys.distill.evaluation import ROWS


@torch.inference_mode()
def pick(student: nn.Module, candidates: Tensor, n: int) -> Tensor:
    """Indices (n,) of candidates, float32 (m, c, h, w) in [0, 1], m >= n: unclear ones, of all classes.

    Takes turns through the classes that the student predicts, from the candidate with the smallest
    margin between its two most likely classes upwards (margin sampling, Scheffer et al. 2001), so that
    a class which the teacher sees rarely is not crowded out. The student's mode is kept.
    """
    probabilities = _probabilities(student, candidates)
    top = probabilities.topk(2, dim=1)
    margins = top.values[:, 0] - top.values[:, 1]
    order = margins.argsort(stable=True)
    classes = top.indices[order, 0]
    turn = torch.empty_like(order)
    for label in range(probabilities.shape[1]):
        members = (classes == label).nonzero()[:, 0]
        turn[members] = torch.arange(len(members), device=turn.device)
    chosen: Tensor = order[turn.argsort(stable=True)[:n]]
    return chosen


@torch.inference_mode()
def unsure(student: nn.Module, candidates: Tensor, threshold: float) -> Tensor:
    """Which candidates, float32 (m, c, h, w) in [0, 1], the student gives no class more than `threshold`.

    bool (m,). QEDG (AAAI 2025) asks only these, with a threshold of 0.7. The student's mode is kept.
    """
    return _probabilities(student, candidates).amax(dim=1) <= threshold


def _probabilities(student: nn.Module, images: Tensor) -> Tensor:
    """(m, K), in eval mode."""
    was_training = student.training
    student.eval()
    logits = torch.cat([student(part) for part in torch.split(images, ROWS)])
    student.train(was_training)
    return logits.softmax(dim=1)
