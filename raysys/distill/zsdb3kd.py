"""Method `zsdb3kd`: DB3KD of samples made from noise, without any image (zero-shot; Wang, ICML 2021).

Noise is asked until each class has its share of a block. These pseudo-samples are moved away from the nearest
boundary, `moves` times, each time after a search for it (`pseudo_samples`). Then they are labelled as the
images of `db3kd` are. A pseudo-sample costs at most

    noise_per_sample + moves * (S(search_candidates, search_rounds) + 1 + halvings)
    + (K - 1) * S(candidates, rounds)

queries, with S of `db3kd`. All noise is charged, whether it was refused for its class or not.

Unlike the release, besides what `db3kd` says:

- Noise is asked at most `noise_per_sample` times a block's samples. Places then left open are taken by noise
  of the classes that have too much (the release goes on without end).
- The search before a move starts towards the nearest noise of another class, and from the last witness; the
  release's from random directions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.distill.boundary import ANY_OTHER, Boundaries, drive, each_other_class
from raysys.distill.db3kd import BoundaryMethod
from raysys.distill.db3kd_options import Zsdb3kdOptions
from raysys.distill.method import Setting
from raysys.distill.pooled import to_bytes
from raysys.distill.pseudo_samples import move_away, pseudo_noise


class Zsdb3kd(BoundaryMethod):
    """Method `zsdb3kd`: noise that is moved away from the boundaries before its distances are searched."""

    _options: Zsdb3kdOptions

    def __init__(self, setting: Setting, options: Zsdb3kdOptions) -> None:
        super().__init__(setting, options)
        search = [("toward", index) for index in range(options.search_candidates)]
        move = [*search, *[("descend", 0)] * options.search_rounds, ("move", 0)]
        self._plan = [*move * options.moves, ("each class", 0), *self._plan]

    def _open(self) -> Boundaries | None:
        n = min(self._options.block, self.remaining // self._cost)
        images, labels = self._noise(n)
        if not len(labels):
            return None
        self._remember(images, labels)
        chosen = balanced(labels, n, self.task.num_classes)
        own = labels[chosen].to(self.device)
        rows_of = (images[chosen].float() / 255).to(self.device), own, torch.full_like(own, ANY_OTHER)
        return Boundaries.start(*rows_of)

    def _noise(self, n: int) -> tuple[Tensor, Tensor]:
        """Noise, uint8, with its labels: asked until each class has its share of `n`, or while allowed."""
        classes = self.task.num_classes
        images, labels = self._references[:0], self._reference_labels[:0]
        for _ in range(self._options.noise_per_sample if n else 0):
            if torch.bincount(labels, minlength=classes).min() >= n / classes or not self.remaining:
                break
            what, told = self._labelled(to_bytes(pseudo_noise(n, self.task.image_shape, self.rng)))
            images, labels = torch.cat([images, what]), torch.cat([labels, told])
        return images, labels

    def _search(self, rows: Boundaries, what: str, index: int) -> Boundaries:
        if what == "move":
            drive(move_away(rows, self._options.step, self._options.halvings), self._decide)
        elif what == "each class":
            self._remember(torch.from_numpy(to_bytes(rows.samples)), rows.own.cpu())
            return each_other_class(rows.samples, rows.own, self.task.num_classes)
        return super()._search(rows, what, index)


def balanced(labels: Tensor, n: int, num_classes: int) -> Tensor:
    """Indices of at most `n` of `labels`, of all classes equally often as far as they go, in turn."""
    rank = (F.one_hot(labels, num_classes).cumsum(dim=0) - 1).gather(1, labels[:, None])[:, 0]
    return torch.argsort(rank, stable=True)[:n]
