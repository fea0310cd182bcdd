"""How many trials of a run share a place, where that is left to the machine."""

import ray
import torch

from raysys.distill.options import StudentOptions, parse_options
from raysys.distill.pack_size import auto_pack, trial_bytes
from raysys.records import Scalar, Task
from raysys.space.schema import Space
from raysys.teacher.actor import answer


def pack_size(space: Space, task: Task) -> int:
    """What the memory of a GPU takes of the space's largest trial, as a worker with one sees it.

    1 where trials work on CPUs, and for methods whose needs are not known. Waits for a place of a trial.
    """
    each = space.resources
    if not each.gpus_per_trial:
        return 1
    options = parse_options(space.method, largest(space))
    if not isinstance(options, StudentOptions):
        return 1
    needed = trial_bytes(task, space.student, options)
    measure = ray.remote(num_cpus=each.cpus_per_trial, num_gpus=each.gpus_per_trial)(_fitting)
    return int(answer(measure.remote(needed, min(1.0, each.gpus_per_trial))))


def largest(space: Space) -> dict[str, Scalar]:
    """The options of a trial with the largest number that each parameter can have."""
    found = dict(space.options)
    for name, parameter in space.parameters.items():
        numbers = [value for value in parameter.probes() if isinstance(value, int | float)]
        if numbers:
            found[space.option(name)] = max(numbers)
    return found


def _fitting(needed: int, share: float) -> int:
    if not torch.cuda.is_available():
        return 1
    free, _ = torch.cuda.mem_get_info()
    return auto_pack("cuda", needed, int(share * free))
