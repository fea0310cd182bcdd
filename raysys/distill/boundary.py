"""Distances to a teacher's decision boundaries, from its labels alone (DB3KD, Wang, ICML 2021).

A row is a sample and a class to reach. Its distance is the length from the sample to its witness, the nearest
image that was asked and got that class: an upper bound of the minimal distance, whenever the budget ends.
Three searches make it smaller:

- sample distance (SD): `nearest` of given images of the class. No query.
- boundary distance (BD): `toward` given images of the class, on the straight line, by binary search.
- minimal boundary distance (MBD): `descend` turns the line by votes of which side random neighbours are on.
  The release does it after Sign-OPT (ICLR 2020): it asks on turned lines at the present distance, steps along
  the sum of the votes, and searches the boundary anew for up to 30 lengths of the step. Here neighbours of
  the witness vote, less their mean, as in HopSkipJump (S&P 2020), which needs no witness exactly on the
  boundary, where 8 bits have none; and few angles at the present distance replace the searches, for 1 query
  each.

Searches are generators over all rows at once: they yield images to ask and are sent their labels, see
`drive`. All state is in the tensors of `Boundaries` and in the random generator, complete between two
searches; a search that is repeated from there asks the same images.

8 bits a pixel: every image asked is rounded to grey levels. A distance below one level, 1/255, cannot be told
from 0, and rounding adds to a point up to about sqrt(d / 12) / 255 across its line. The release asks floats:
its neighbours are 0.001 of the distance away, some 0.01 grey levels a pixel on 28x28, and would all be
the same image; here they are whole grey levels away. Where an image was clamped to [0, 1] the release counts
the length of the line; here the distance is that of the image.
"""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.distill.grey_levels import GREY, on_grid

Search = Generator[Tensor, Tensor, None]
"""Yields images, float (m, c, h, w) of whole grey levels; is sent the first k <= m labels, int64 (k,)."""

ANY_OTHER = -1
"""The class to reach is any but the sample's own (untargeted)."""
REQUEST = 4096
"""Neighbours asked together, about; more would not fit into memory."""
WIDEST_TURN = math.pi / 3
"""The largest angle by which `descend` turns a line, halved `turns` - 1 times."""
LEVELS = 2
"""Grey levels by which every pixel of a neighbour differs from the witness."""


@dataclass
class Boundaries:
    """r rows; `vars(rows)` is their state, which searches change in place.

    `samples` (r, c, h, w), whole grey levels in [0, 1]; `own` int64 (r,), their labels; `target` int64 (r,),
    the classes to reach, or ANY_OTHER; `witness` (r, c, h, w), the nearest image known beyond the boundary,
    and `distance` (r,) to it, inf while none is known.
    """

    samples: Tensor
    own: Tensor
    target: Tensor
    witness: Tensor
    distance: Tensor

    @classmethod
    def start(cls, samples: Tensor, own: Tensor, target: Tensor) -> "Boundaries":
        """Rows without a witness. `samples` are rounded: labels should be those of rounded images."""
        samples = on_grid(samples)
        distance = torch.full((len(samples),), math.inf, device=samples.device)
        return cls(samples, own, target, samples.clone(), distance)

    def beyond(self, labels: Tensor, rows: Tensor) -> Tensor:
        """Which of `labels`, answers for `rows` (same shape), are on the other side of the boundary."""
        target = self.target[rows]
        return torch.where(target == ANY_OTHER, labels != self.own[rows], labels == target)

    def offer(self, rows: Tensor, images: Tensor) -> None:
        """Take `images` (k, c, h, w), known to be beyond the boundaries of distinct `rows`, where nearer."""
        distance = _lengths(images - self.samples[rows])
        nearer = distance < self.distance[rows]
        self.witness[rows[nearer]] = images[nearer]
        self.distance[rows[nearer]] = distance[nearer]

    def move(self, rows: Tensor, samples: Tensor) -> None:
        """Put `samples` (k, c, h, w) of the same labels in the place of those of `rows`; witnesses stay."""
        self.samples[rows] = samples
        self.distance[rows] = _lengths(self.witness[rows] - samples)

    def lines(self, rows: Tensor) -> Tensor:
        """Unit vectors (k, c, h, w) from the samples of `rows` to their witnesses."""
        return _unit(self.witness[rows] - self.samples[rows])

    def ask(self, rows: Tensor, points: Tensor) -> Generator[Tensor, Tensor, Tensor]:
        """Ask the roundings of `points` (j, k, c, h, w), j for each of the distinct `rows` (k,).

        Returns (j, k): 1 beyond the boundary, -1 not, 0 not answered. Witnesses improve.
        """
        images = on_grid(points)
        labels = (yield images.flatten(0, 1)).to(images.device)
        sides = torch.zeros(points.shape[:2], device=images.device)
        beyond = self.beyond(labels, rows.repeat(len(points))[: len(labels)])
        sides.view(-1)[: len(labels)] = beyond.float() * 2 - 1
        for side, image in zip(sides, images, strict=True):
            self.offer(rows[side > 0], image[side > 0])
        return sides


def drive(search: Search, decide: Callable[[Tensor], Tensor]) -> bool:
    """Run a search to its end, or until `decide` gives fewer labels than asked; whether it came to its end.

    `decide` takes images (m, c, h, w) and returns the labels int64 (k,) of the first k <= m; k = 0 when the
    budget is spent. The search takes whatever was answered.
    """
    complete = True
    try:
        images = next(search)
        while complete:
            labels = decide(images)
            complete = len(labels) == len(images)
            images = search.send(labels)
    except StopIteration:
        return complete
    search.close()
    return complete


def each_other_class(samples: Tensor, labels: Tensor, num_classes: int) -> Boundaries:
    """Rows for n samples and their num_classes - 1 other classes, those of a sample together, in order."""
    own = labels.repeat_interleave(num_classes - 1)
    others = torch.arange(num_classes - 1, device=labels.device).repeat(len(labels))
    target = others + (others >= own)
    return Boundaries.start(samples.repeat_interleave(num_classes - 1, dim=0), own, target)


def distance_table(rows: Boundaries, num_classes: int) -> Tensor:
    """Distances (n, K) of `each_other_class` rows; inf for a sample's own class."""
    table = torch.full((len(rows.own) // (num_classes - 1), num_classes), math.inf, device=rows.own.device)
    table.scatter_(1, rows.target.view(len(table), -1), rows.distance.view(len(table), -1))
    return table


def soft_scores(distances: Tensor, labels: Tensor) -> Tensor:
    """DB3KD's soft labels (n, K), scores before a softmax, of distances (n, K) and own classes (n,).

    Another class t gets 1 / distance (0 where none is known, and 255 below a grey level, which cannot be
    resolved), the own class their sum. The published student learns softmax(scores / 20).
    """
    own = F.one_hot(labels, distances.shape[1]).bool()
    scores = distances.clamp_min(GREY).reciprocal().masked_fill(own, 0)
    return torch.where(own, scores.sum(dim=1, keepdim=True), scores)


def nearest(rows: Boundaries, pool: Tensor, pool_labels: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """The k images of `pool` (p, c, h, w) nearest to each row that are beyond its boundary; costs no query.

    Returns indices and distances (r, k), ascending; the distance is inf where there are fewer. `pool_labels`
    (p,) are the teacher's. The first distance is DB3KD's sample distance. Takes memory for r * p distances.
    """
    every = torch.arange(len(rows.own), device=rows.own.device)
    distances = torch.cdist(rows.samples.flatten(1), pool.flatten(1))
    distances.masked_fill_(~rows.beyond(pool_labels[None], every[:, None]), math.inf)
    found = distances.topk(min(k, len(pool)), dim=1, largest=False)
    # `cdist` is a matrix product, and rounds small distances.
    exact = torch.stack([_lengths(pool[index] - rows.samples) for index in found.indices.T], dim=1)
    return found.indices, exact.where(found.values.isfinite(), math.inf)


def toward(rows: Boundaries, ends: Tensor, known: Tensor, bisections: int) -> Search:
    """One candidate of BD: the boundary on the line from each sample to `ends` (r, c, h, w), if it is nearer.

    Only rows whose end is `known` (r,) to be beyond take part; `ends` are whole grey levels. Where the end is
    farther than the present distance, the point at that distance is asked first: 1 query. Then `bisections`
    queries if this point, or the nearer end, is beyond: the result is above a boundary on the line by at most
    2**-bisections of the length, and the rounding of a point.
    """
    length = _lengths(ends - rows.samples)
    line = _unit(ends - rows.samples)
    radius = torch.minimum(length, rows.distance)
    found = known & (length < rows.distance)
    farther = (known & ~found).nonzero()[:, 0]
    rows.offer(found.nonzero()[:, 0], ends[found])
    if len(farther):
        points = _at(rows, farther, line[farther], radius[farther])
        found[farther] = (yield from rows.ask(farther, points[None]))[0] > 0
    index = found.nonzero()[:, 0]
    yield from _bisect(rows, index, line[found], torch.zeros_like(radius[found]), radius[found], bisections)


def _bisect(rows: Boundaries, index: Tensor, line: Tensor, low: Tensor, high: Tensor, steps: int) -> Search:
    """Binary search between `low` and `high` (k,) on `line` (k, c, h, w); `steps` queries a row."""
    for _ in range(steps if len(index) else 0):
        middle = (low + high) / 2
        beyond = (yield from rows.ask(index, _at(rows, index, line, middle)[None]))[0] > 0
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)


def descend(rows: Boundaries, neighbours: int, turns: int, bisections: int, rng: torch.Generator) -> Search:
    """One round of MBD: turn each row's line so that the boundary is nearer, if it can be.

    Asks `neighbours` images that differ from the witness by +-LEVELS grey levels in every pixel, drawn from
    `rng` (on the CPU). The mean of those beyond the boundary, less the mean of all, points along its normal.
    Then `turns` lines, turned that way by WIDEST_TURN and its halves, are asked at the present distance.
    Where one is beyond, `bisections` go down from there at three quarters of the widest such angle: on a flat
    boundary the nearest line is at half of the angle that comes back to the present distance.

    Costs a row neighbours + turns, and bisections if a turn was beyond. Witnesses should be near the
    boundary, as `toward` leaves them. Rows without one, or within a grey level, are left out.
    """
    index = (rows.distance.isfinite() & (rows.distance > GREY)).nonzero()[:, 0]
    if not len(index):
        return
    line, radius = rows.lines(index), rows.distance[index]
    normal = yield from _votes(rows, index, neighbours, rng)
    sideways = _unit(normal - (normal * line).flatten(1).sum(dim=1)[:, None, None, None] * line)
    angles = WIDEST_TURN / 2 ** torch.arange(turns, device=radius.device)
    points = torch.stack([_at(rows, index, _turn(line, sideways, angle), radius) for angle in angles])
    beyond = (yield from rows.ask(index, points)) > 0
    widest = (beyond * angles[:, None]).amax(dim=0)
    turned = (widest > 0).nonzero()[:, 0]
    new = _turn(line[turned], sideways[turned], 0.75 * widest[turned][:, None, None, None])
    yield from _bisect(rows, index[turned], new, radius[turned] / 2, radius[turned], bisections)


def _votes(
    rows: Boundaries, index: Tensor, neighbours: int, rng: torch.Generator
) -> Generator[Tensor, Tensor, Tensor]:
    """Sum over the neighbours of (side - mean side) * move, (k, c, h, w): along the normal on average."""
    centre = rows.witness[index]
    shape, device = centre.shape, centre.device
    sides = torch.zeros(len(index), device=device)
    moves, both = torch.zeros_like(centre), torch.zeros_like(centre)
    together = max(1, REQUEST // len(index))
    for done in range(0, neighbours, together):
        n = min(together, neighbours - done)
        signs = (torch.randint(0, 2, (n, *shape), generator=rng) * 2 - 1).to(device)
        points = on_grid(centre + LEVELS * GREY * signs)
        side = yield from rows.ask(index, points)
        sides += side.sum(dim=0)
        moves += (points - centre).sum(dim=0)
        both += (side[:, :, None, None, None] * (points - centre)).sum(dim=0)
    return both - (sides / neighbours)[:, None, None, None] * moves


def _at(rows: Boundaries, index: Tensor, line: Tensor, radius: Tensor) -> Tensor:
    return rows.samples[index] + radius[:, None, None, None] * line


def _turn(line: Tensor, sideways: Tensor, angle: Tensor) -> Tensor:
    return angle.cos() * line + angle.sin() * sideways


def _lengths(vectors: Tensor) -> Tensor:
    return vectors.flatten(1).square().sum(dim=1).sqrt()


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.flatten(1), dim=1).view_as(vectors)
