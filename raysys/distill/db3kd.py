"""Method `db3kd`: soft labels for given images from their distances to boundaries (Wang, ICML 2021).

A sample is the more surely of its class, the farther the boundaries to other classes are. The given images
are labelled, and their distances to each other class searched (`boundary`): to the nearest image of that
class (sample distance, SD), to the boundary on the way there (BD), or to the nearest boundary (MBD).

Soft labels are made of scores: s_t = 1 / distance_t for another class t, 0 where no distance is known, and
for the own class c the sum of the others. The student learns the targets

    (1 - soft_weight) * one_hot(c) + soft_weight * softmax(s / temperature).

A block of samples is searched together. With K classes a sample costs at most

    1 + (K - 1) * S(candidates, rounds)
    S(c, r) = c * (1 + bisections) + r * (neighbours + turns + bisections)

queries, where BD has r = 0, and S is 0 for SD. A block has as many samples as the rest of the budget surely
pays for. Most cost less, so that smaller blocks follow, until less than one sample's price is left. Where a
run's cap ends a block before, its samples are learnt with the distances known by then, all upper bounds.

Unlike the release:

- Labels are the teacher's, and each is charged; the release takes those of the data set. Images of a class
  are looked for among the `REFERENCES` labelled last, nearest first; the release draws them at random.
- The nearer a class, the more likely: scores are reciprocal distances. The public code that saves soft labels
  has lost the reciprocal; it saves the distances, by which a farther class would be the more likely one.
- The student has the recipe that all methods share, at one temperature. The release adds cross-entropy with
  the label at temperature 1 and KL between softmax(s / 20) and softmax(student / 20), summed over its batch.
  With `soft_weight` 1 and `temperature` 20 ours is that KL for a student whose logits are 20 times
  smaller; below 1 the label is mixed into the targets instead, where 20 would only smooth it.
- The images of searches have labels, too, and were paid for: by default the student learns from them as well.
  `learn_from` samples is as published.
- A soft teacher's probabilities are not used.

An interrupted search that goes on on another machine takes the answers to what was asked before as answers to
its own images, a grey level apart.
"""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from raysys.distill.boundary import (
    ANY_OTHER,
    Boundaries,
    Search,
    descend,
    distance_table,
    drive,
    each_other_class,
    nearest,
    soft_scores,
    toward,
)
from raysys.distill.db3kd_options import Db3kdOptions
from raysys.distill.losses import one_hot
from raysys.distill.method import Progress, Setting
from raysys.distill.pooled import PooledMethod, samples, to_bytes
from raysys.oracle import Images, Response

REFERENCES = 1000
"""Labelled images that a search may start towards."""


class BoundaryMethod(PooledMethod):
    """What both have in common: a block is opened, goes through the searches of its plan, and is learnt."""

    def __init__(self, setting: Setting, options: Db3kdOptions) -> None:
        super().__init__(setting, options)
        self._options = options
        self._cost = options.sample_queries(self.task.num_classes)
        self._rows: Boundaries | None = None
        self._done = 0
        self._references = torch.empty((0, *self.task.image_shape), dtype=torch.uint8)
        self._reference_labels = torch.empty(0, dtype=torch.int64)
        self._plan = self._label_plan()

    @abstractmethod
    def _open(self) -> Boundaries | None:
        """Rows of a new block whose samples were asked; None if nothing could be."""

    def step(self) -> Progress | None:
        """See `PooledMethod.step`: open a block, or search once for all of it; in the end learn it."""
        if self._rows is None:
            with self.watch("generate"):
                self._rows, self._done = self._open(), 0
            if self._rows is None:
                return None
        else:
            with self.watch("generate"):
                self._rows = self._search(self._rows, *self._plan[self._done])
            self._done += 1
        if self._done < len(self._plan) and self.remaining:
            return Progress()
        return self._learn(self._rows)

    def _label_plan(self) -> list[tuple[str, int]]:
        options = self._options
        candidates = 0 if options.distance == "sample" else options.candidates
        rounds = options.rounds if options.distance == "minimal" else 0
        return [("toward", index) for index in range(candidates)] + [("descend", 0)] * rounds

    def _search(self, rows: Boundaries, what: str, index: int) -> Boundaries:
        """One search of the plan; the rows to go on with. `index` numbers the candidates."""
        options = self._options
        if what == "toward":
            drive(self._toward(rows, index), self._decide)
        elif what == "descend":
            counts = options.neighbours, options.turns, options.bisections
            drive(descend(rows, *counts, self.rng), self._decide)
        return rows

    def _toward(self, rows: Boundaries, index: int) -> Search:
        """The search towards each row's reference number `index`, the nearest being number 0."""
        pool, labels = self._known()
        if index >= len(pool):
            return
        found, distance = nearest(rows, pool, labels, index + 1)
        ends = pool[found[:, index]]
        yield from toward(rows, ends, distance[:, index].isfinite(), self._options.bisections)

    def _known(self) -> tuple[Tensor, Tensor]:
        images = self._references.to(self.device).float() / 255
        return images, self._reference_labels.to(self.device)

    def _remember(self, images: Tensor, labels: Tensor) -> None:
        """Keep labelled images, uint8, as references."""
        self._references = torch.cat([self._references, images])[-REFERENCES:]
        self._reference_labels = torch.cat([self._reference_labels, labels])[-REFERENCES:]

    def _decide(self, images: Tensor) -> Tensor:
        """For `drive`: the labels of the first of some images in [0, 1]."""
        return self._labelled(to_bytes(images))[1][: len(images)]

    def _labelled(self, images: Images) -> tuple[Tensor, Tensor]:
        """Ask images; what was asked, uint8, and the labels, which are learnt if all are."""
        asked = self.ask(images)
        if asked is None:
            return self._references[:0], self._reference_labels[:0]
        what, labels = torch.tensor(asked.images), torch.tensor(asked.response.labels)
        if self._options.learn_from == "all":
            self._add(asked.images, labels, one_hot(labels, self.task.num_classes))
        return what, labels

    def _learn(self, rows: Boundaries) -> Progress:
        """End the block: its samples go into the pool, and the student passes over it."""
        classes = self.task.num_classes
        if int(rows.target[0]) == ANY_OTHER:
            rows = each_other_class(rows.samples, rows.own, classes)
        pool, pool_labels = self._known()
        found, distance = nearest(rows, pool, pool_labels)
        index = distance[:, 0].isfinite().nonzero()[:, 0]
        rows.offer(index, pool[found[index, 0]])
        images, labels = to_bytes(rows.samples[:: classes - 1]), rows.own[:: classes - 1]
        table = distance_table(rows, classes)
        self._add(images, labels.cpu(), targets(table, labels, self._options).cpu())
        self._rows = None
        return Progress({"student": self.run_passes()}, samples(images))

    def _add(self, images: Images, labels: Tensor, probabilities: Tensor) -> None:
        self.pool.add(images, Response(labels.numpy(), probabilities.numpy()))

    def state_dict(self) -> dict[str, Any]:
        """See `Method.state_dict`."""
        rows = self._rows
        return {
            **super().state_dict(),
            "rows": None if rows is None else {name: one.clone() for name, one in vars(rows).items()},
            "done": self._done,
            "references": self._references,
            "reference_labels": self._reference_labels,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Method.load_state_dict`."""
        super().load_state_dict(state)
        rows = state["rows"]
        if rows is not None:
            self._rows = Boundaries(**{name: one.to(self.device) for name, one in rows.items()})
        self._done = state["done"]
        self._references, self._reference_labels = state["references"], state["reference_labels"]


class Db3kd(BoundaryMethod):
    """Method `db3kd`: the given images, in random order and each once."""

    def __init__(self, setting: Setting, options: Db3kdOptions) -> None:
        super().__init__(setting, options)
        assert setting.images is not None  # `build_method` sees to it
        self._images = setting.images
        self._order = torch.randperm(len(self._images), generator=self.rng).numpy()
        self._taken = 0

    @property
    def note(self) -> str:
        """See `Method.note`: the given images may be too few."""
        left = 0 if self._exhausted or self._rows is not None else self._budget - self.queries
        if (note := super().note) or self._taken < len(self._images) or not left:
            return note
        return (
            f"all {self._taken:,} images were asked; {left:,} of {self._budget:,} queries were left unspent"
        )

    def _open(self) -> Boundaries | None:
        n = min(self._options.block, self.remaining // self._cost, len(self._images) - self._taken)
        asked = self.ask(self._images[self._order[self._taken : self._taken + n]])
        self._taken += n
        if asked is None:
            return None
        images, labels = torch.tensor(asked.images), torch.tensor(asked.response.labels)
        self._remember(images, labels)
        rows_of = (images.float() / 255).to(self.device), labels.to(self.device)
        return each_other_class(*rows_of, self.task.num_classes)

    def state_dict(self) -> dict[str, Any]:
        """See `Method.state_dict`."""
        return {**super().state_dict(), "taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Method.load_state_dict`."""
        super().load_state_dict(state)
        self._taken = state["taken"]


def targets(distances: Tensor, labels: Tensor, options: Db3kdOptions) -> Tensor:
    """What the student learns, (n, K), of distances (n, K) and own classes (n,): see the module."""
    scores = soft_scores(distances, labels)
    own = one_hot(labels, distances.shape[1])
    soft = (scores / options.temperature).softmax(dim=1)
    # Without any distance all scores are 0: the label is all that is known.
    soft = torch.where(scores.any(dim=1, keepdim=True), soft, own)
    return (1 - options.soft_weight) * own + options.soft_weight * soft
