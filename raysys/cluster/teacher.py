"""The teacher service of a run, from its space and its caps."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from raysys.cluster.caps import payable
from raysys.cluster.problem import Problem
from raysys.distill.noise import structured_noise, uniform_noise
from raysys.oracle import Images
from raysys.records import Task
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.teacher.kept import KeptTeacher
from raysys.teacher.service import Caps
from raysys.teacher.setup import TeacherSetup
from raysys.teacher.tuning import HardSource

SAMPLE = 64
"""Images of each kind that a network is tuned on."""
REAL_BYTES = 60_000
"""Held-out images among them travel with the setup, which is to be small (see `HardSource`)."""


def teacher_setup(
    space: Space,
    problem: Problem,
    layout: RunLayout,
    caps: Mapping[str, float] | None = None,
    gpus: float = 0.0,
    log: Path | None = None,
) -> TeacherSetup:
    """What the run's one teacher service is made of; each of its networks gets the share `gpus` of a GPU.

    `log` is the driver's, for what the service's own process warns of.
    """
    caps = caps or {}
    queries = caps.get("queries")
    source = problem.teacher
    if space.response == "hard" and isinstance(source, KeptTeacher):
        held_out = problem.val.images[:SAMPLE]
        real = held_out[: REAL_BYTES // held_out[0].nbytes]
        source = HardSource(source, partial(_sample, problem.task, real))
    return TeacherSetup(
        source=source,
        task=problem.task,
        response=space.response,
        ledger=layout.ledger,
        filesystem=layout.filesystem,
        caps=Caps(None if queries is None else int(queries), payable(caps, space.price)),
        top_k=space.teacher.top_k,
        decimals=space.teacher.decimals,
        replicas=space.teacher.replicas,
        num_gpus=gpus,
        log=log,
    )


def _sample(task: Task, real: Images) -> Images:
    """What trials may ask about, mixed: held-out images, structured and uniform noise."""
    rng = torch.Generator().manual_seed(0)
    noise = [
        structured_noise(SAMPLE, task.image_shape, task.flip, rng),
        uniform_noise(SAMPLE, task.image_shape, rng),
    ]
    images: Images = np.concatenate([real, (torch.cat(noise) * 255).to(torch.uint8).numpy()])
    np.random.default_rng(0).shuffle(images)
    return images
