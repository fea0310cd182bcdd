"""A torch module as a black box: uint8 images in, top-1 labels and probabilities out."""

import numpy as np
import torch
from torch import nn

from raysys.oracle import Images, Response


class TorchTeacher:
    """Answers with a module that maps float32 (n, c, h, w) in [0, 1] to logits (n, classes)."""

    def __init__(self, module: nn.Module, max_rows: int = 512, device: str = "cpu") -> None:
        self._module = module.to(device).eval()
        self._max_rows = max_rows
        self._device = device

    @torch.inference_mode()
    def predict(self, images: Images) -> Response:
        """Answer uint8 (n, c, h, w), at most `max_rows` images a forward."""
        parts = []
        for start in range(0, len(images), self._max_rows):
            part = torch.tensor(images[start : start + self._max_rows], device=self._device)
            parts.append(self._module(part.float() / 255).softmax(dim=1).cpu().numpy())
        probabilities = np.concatenate(parts)
        return Response(probabilities.argmax(axis=1).astype(np.int64), probabilities)
