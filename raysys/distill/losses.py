"""Losses. `logits` (n, K); `targets` (n, K), rows that sum to 1. Every loss is a mean over the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits: Tensor, targets: Tensor, wrong_weight: float | Tensor = 1.0) -> Tensor:
    """Mean over n of -sum_k targets_k log softmax(logits)_k; ordinary cross-entropy for one-hot targets.

    Rows whose most likely class is not that of the target count `wrong_weight` times, and the mean is still
    over n (QEDG, AAAI 2025, `Imbalance_CrossEntropyLoss` of its release).
    """
    if not isinstance(wrong_weight, Tensor) and wrong_weight == 1:
        return F.cross_entropy(logits, targets)
    losses = F.cross_entropy(logits, targets, reduction="none")
    right = logits.argmax(dim=1) == targets.argmax(dim=1)
    return torch.where(right, losses, wrong_weight * losses).mean()


def one_hot(labels: Tensor, num_classes: int, smoothing: float = 0.0) -> Tensor:
    """(n, K) targets: 1 - smoothing on the label, and smoothing / K spread over all classes."""
    # Not F.one_hot: it looks at every label first.
    hits = labels.unsqueeze(1) == torch.arange(num_classes, device=labels.device)
    return hits * (1 - smoothing) + smoothing / num_classes


def per_sample_entropy(logits: Tensor) -> Tensor:
    """Mean over n and K of p log p: IDEAL's term as released, minimal when each sample is undecided.

    With K classes it is 1/K of the mean negative entropy of a sample, in nats.
    """
    log_p = F.log_softmax(logits, dim=1)
    return (log_p.exp() * log_p).mean()


def batch_marginal_entropy(logits: Tensor) -> Tensor:
    """sum_k q_k log q_k of the batch-mean prediction q: minimal when the classes are balanced (DFHL-RS)."""
    marginal = F.softmax(logits, dim=1).mean(dim=0)
    return (marginal * marginal.clamp_min(1e-12).log()).sum()
