"""DFME: data-free model extraction (Truong, Maini, Walls, Papernot, CVPR 2021).

A game of two networks about the distance of student and teacher at an image x, sum_k |s_k(x) - t_k(x)| / K:
s are the student's logits, t the teacher's, recovered from its probabilities as log p - mean log p
(`zeroth_order.logit_distance`). The student makes it smaller at images of the generator, by gradient descent;
the generator makes it larger, along a gradient that is estimated from answers, m of them besides the image's
own (forward differences, `zeroth_order.Stencil`). One iteration has `g_iter` steps of the generator and
`d_iter` of the student, each with B new images, and charges

    B * (g_iter * (m + 1) + d_iter) queries,

published with B = 256, m = 1, g_iter = 1, d_iter = 5: 1,792. All iterations that the budget pays for are
made; the rest, less than one, is spent on more steps of the student, the last with what is left. Where a
run's cap ends the asking within a generator's step, that step is not made; what it paid for is in the pool.

As released: the generator is IDEAL's with a batch norm before its tanh, in training mode throughout; the
student is in eval mode while the generator trains; student SGD with momentum 0.9, generator Adam, both
rates times 0.3 at 10, 30 and 50 % (SVHN: 50 and 80 %). All of the release: `batch` 256, `moves` published,
`lr_steps` cifar, `replay`, `passes`, `final_passes` and `pool_limit` 0. Deviations, with their reasons:

- Images are in [0, 1], as whole grey levels: (tanh + 1) / 2 instead of tanh, and the student learns at the
  images as they were asked.
- The default `moves`, `signs`, move every pixel by `levels` grey levels, in the space of images. Those
  published, of length 1e-3 before the tanh, are kept as an option, and are dead in 8 bits: rounding undoes
  them, or leaves a few pixels that happened to be near a half, and the estimate is noise (`zeroth_order` has
  the cosines). With them the generator walks at random, for the same charge.
- `replay`: after each iteration the student takes more steps down the same distance, on batches of answers
  that it has (MAZE, CVPR 2021, has 10). The release uses each answer once, for which a small budget is too
  small: 20,000 queries are 11 of its iterations, 55 steps of the student.
- Answers are kept, those of the generator's steps too (`pool_limit`: the first ones only), for `replay`,
  `passes` and the final passes, which are the shared recipe: soft cross-entropy. With `restart` the final
  student is a fresh one that learns from the pool alone. `augment` is 0: at noise of this kind the teacher's
  probabilities do not survive a turn or a shift. `ema` begins in the final phases; `weight_decay` is that of
  the game, too.
- Rates fall at shares of the iterations; the release counts in epochs of 50 iterations.
- First weights of the generator are those of `models.generators.reset`.
- Probabilities below `floor` count as it: the release reads logits. An API that rounds needs half of its last
  digit, else its zeros would be most of the distance.
- No checkpoint is chosen on the test set: the last student is delivered.

Measured on digits, 4,000 queries, seeds 0, 1, 2, final student on the test images: 96.6, 96.7, 97.2 with
`signs`; 96.0, 96.7, 97.5 with published moves; 97.1, 95.4, 97.2 with `g_iter` 0, a generator that is never
trained: at such budgets the game does not pay for its gradients. Structured noise reaches 98.5 to 99.3 there.
The release's own settings reached 73.7 with 200,000 queries (seed 0).
"""

from typing import Any

import torch
from torch import Tensor, nn

from raysys.distill.dfme_options import DfmeOptions
from raysys.distill.method import Asked, Progress, Setting
from raysys.distill.pooled import PooledMethod, samples, to_bytes
from raysys.distill.zeroth_order import image_moves, logit_distance, published_moves
from raysys.models.generators import Generator, reset
from raysys.oracle import Images, Response

LR_STEPS = {"cifar": (0.1, 0.3, 0.5), "svhn": (0.5, 0.8), "none": ()}
"""Shares of the iterations at which both rates fall."""
LR_FACTOR = 0.3


class PreTanh(nn.Module):
    """Latent z (n, latent_dim) -> (n, c, h, w), mean 0 and variance 1 in each channel of a batch."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, width: int) -> None:
        super().__init__()
        self.body = Generator(image_shape, latent_dim, width).net  # all but its sigmoid
        self.norm = nn.BatchNorm2d(image_shape[0], affine=False)

    def forward(self, z: Tensor) -> Tensor:
        """Values before the tanh, (n, c, h, w)."""
        values: Tensor = self.norm(self.body(z))
        return values


def to_images(values: Tensor) -> Tensor:
    """Images in [0, 1] of values before the tanh."""
    return (torch.tanh(values) + 1) / 2


class Dfme(PooledMethod):
    """Method `dfme`: rounds of several iterations each."""

    def __init__(self, setting: Setting, options: DfmeOptions) -> None:
        super().__init__(setting, options)
        self._options = options
        self._iterations = options.query_budget // options.iteration_cost
        self._done = 0
        self._generator = PreTanh(self.task.image_shape, options.latent_dim, options.g_width)
        reset(self._generator.body, self.rng)
        self._generator.to(self.device)
        self._g_optimizer = torch.optim.Adam(self._generator.parameters(), options.g_lr)
        self._s_optimizer = torch.optim.SGD(
            self._learner.network.parameters(), options.s_lr, momentum=0.9, weight_decay=options.weight_decay
        )
        self._losses: dict[str, float] = {}
        self._shown: Images | None = None

    @property
    def student(self) -> nn.Module:
        """See `Method.student`: the student of the game, until the final phases."""
        in_game = self._asking or not self._options.final_passes
        return self._learner.network if in_game else self._learner.student

    def step(self) -> Progress | None:
        """See `PooledMethod.step`: some iterations; after the last, what is left of the budget."""
        if not self.remaining:
            return None
        self._losses, self._shown = {}, None
        until = min(self._iterations, self._done + -(-self._iterations // self._options.rounds))
        while self._done < until and self.remaining:
            self._iteration()
        while self._done == self._iterations and self.remaining:
            self._student_step()
        if self._options.passes:
            self._losses["passes"] = self.run_passes()
        return Progress(self._losses, self._shown)

    def _iteration(self) -> None:
        options = self._options
        falls = sum(self._done / self._iterations >= share for share in LR_STEPS[options.lr_steps])
        for optimizer, rate in ((self._g_optimizer, options.g_lr), (self._s_optimizer, options.s_lr)):
            for group in optimizer.param_groups:
                group["lr"] = rate * LR_FACTOR**falls
        for _ in range(options.g_iter):
            with self.watch("generate"):
                self._generator_step()
        for _ in range(options.d_iter):
            self._student_step()
        for _ in range(options.replay if len(self.pool) > 1 else 0):
            self._descend(*self.pool.batch(self.pool.order(options.balance, self.rng)[: options.batch]))
        self._done += 1

    def _generator_step(self) -> None:
        """Ascend the mean distance at B new images, along its estimated gradient."""
        options = self._options
        values = self._generator(self._latent())
        if options.moves == "signs":
            start = to_images(values)
            points = image_moves(start, options.directions, options.levels, self.rng)
        else:
            start = values
            points = published_moves(start, options.directions, options.epsilon, self.rng, to_images)
        asked = self._ask(points.images)
        if asked is None or len(asked.images) < len(points.images):
            return
        images, told = _answered(asked)
        with torch.no_grad():
            distances = self._distances(self._learner.network.eval(), images, told)
        self._g_optimizer.zero_grad(set_to_none=True)
        start.backward(-points.gradient(distances) / len(start))  # type: ignore[no-untyped-call]
        self._g_optimizer.step()
        self._losses["generator"] = -float(distances.view(len(start), -1)[:, 0].mean())

    def _student_step(self) -> None:
        """Descend the mean distance at B new images, or as many as may still be asked."""
        with self.watch("generate"), torch.no_grad():
            images = to_images(self._generator(self._latent()))
        asked = self._ask(images)
        if asked is None or len(asked.images) < 2:  # batch norm cannot learn from one image alone
            return
        self._losses["student"] = self._descend(*_answered(asked))
        self._shown = samples(asked.images)

    def _descend(self, images: Tensor, told: Tensor) -> float:
        """One step of the student down the mean distance, which is returned."""
        with self.watch("train"):
            loss = self._distances(self._learner.network.train(), images, told).mean()
            self._s_optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._s_optimizer.step()
            return float(loss.detach())

    def _distances(self, network: nn.Module, images: Tensor, told: Tensor) -> Tensor:
        """The distance (n,) of student and teacher, that told probabilities (n, K), at each image."""
        return logit_distance(network(images.to(self.device)), told.to(self.device), self._options.floor)

    def _latent(self) -> Tensor:
        return torch.randn(self._options.batch, self._options.latent_dim, generator=self.rng).to(self.device)

    def _ask(self, images: Tensor) -> Asked | None:
        """Ask what the budget allows of the images, and keep it while the pool has room."""
        n = self.remaining
        asked = self.ask(to_bytes(images[:n])) if n else None
        room = self._options.pool_limit - len(self.pool)
        if asked is not None and room > 0:
            self.pool.add(asked.images[:room], _first(asked.response, room))
        return asked

    def state_dict(self) -> dict[str, Any]:
        """See `Method.state_dict`."""
        return {
            **super().state_dict(),
            "generator": self._generator.state_dict(),
            "g_optimizer": self._g_optimizer.state_dict(),
            "s_optimizer": self._s_optimizer.state_dict(),
            "done": self._done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Method.load_state_dict`."""
        super().load_state_dict(state)
        self._generator.load_state_dict(state["generator"])
        self._g_optimizer.load_state_dict(state["g_optimizer"])
        self._s_optimizer.load_state_dict(state["s_optimizer"])
        self._done = state["done"]


def _answered(asked: Asked) -> tuple[Tensor, Tensor]:
    """Images float (n, c, h, w) in [0, 1] as they were asked, and the probabilities (n, K) told of them."""
    return torch.tensor(asked.images).float() / 255, torch.tensor(asked.response.probabilities)


def _first(response: Response, n: int) -> Response:
    told = response.probabilities
    return Response(response.labels[:n], None if told is None else told[:n])
