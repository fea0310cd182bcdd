"""The teacher service of a run, from its space and its caps."""

from collections.abc import Mapping
from pathlib import Path

from raysys.cluster.caps import payable
from raysys.cluster.problem import Problem
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.teacher.service import Caps
from raysys.teacher.setup import TeacherSetup


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
    return TeacherSetup(
        source=problem.teacher,
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
