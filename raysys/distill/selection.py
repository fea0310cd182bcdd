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
    was_training = student.training
    student.eval()
    probabilities = torch.cat([student(part) for part in torch.split(candidates, ROWS)]).softmax(dim=1)
    student.train(was_training)
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
