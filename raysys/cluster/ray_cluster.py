"""Ray for the time of one session: started or joined, and how many trials fit on it."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import ray

from raysys.cluster.signals import held_back
from raysys.errors import UnreachableError
from raysys.space.schema import Resources

ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths stay what the user meant
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our tables are the record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours serves SIGTERM as well
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's snapshots are never read
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "10",
}

TEACHER_GPUS = 0.1
"""Share of a GPU that each network of the teacher takes beside the trials."""


@contextmanager
def ray_session(address: str, log: Path) -> Iterator[None]:
    """Ray at `address` (`local` starts one for this process); it and this driver tell `log` what they do.

    Raises UnreachableError.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with held_back():
            ray.init(
                address=address,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UnreachableError(
            f"no Ray cluster at {address}", str(error), "start one, or use --address local"
        ) from error
    told, own = logging.getLogger("ray"), logging.getLogger("raysys")
    handler = logging.FileHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    told.handlers, level = [handler], own.level
    own.addHandler(handler)
    own.setLevel(min(own.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        ray.shutdown()
        told.handlers = []
        own.removeHandler(handler)
        own.setLevel(level)
        handler.close()


def resources() -> dict[str, float]:
    """What the cluster has in all: CPU, GPU, ..."""
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found


def place(
    each: Resources, asked: int | None, there: Mapping[str, float], networks: int = 1
) -> tuple[int, float]:
    """(How many trials run at once, the GPU share of each network of the teacher) on a cluster `there`.

    As many as fit, at most `asked`. The teacher's `networks` work on the CPU where trials do, or where they
    need every GPU. Raises UnreachableError when no trial fits.
    """
    cpus, gpus = there.get("CPU", 0), there.get("GPU", 0)
    teacher = TEACHER_GPUS * networks
    if not each.gpus_per_trial or gpus - teacher < each.gpus_per_trial:
        teacher = 0.0
    pairs = ((cpus, each.cpus_per_trial), (gpus - teacher, each.gpus_per_trial))
    fits = min((int(has / need) for has, need in pairs if need), default=1)
    if fits < 1:
        raise UnreachableError(
            f"no trial can start: each needs {each.cpus_per_trial:g} CPU and {each.gpus_per_trial:g} GPU",
            f"the cluster has {cpus:g} CPU and {gpus:g} GPU",
            "use smaller --cpus-per-trial and --gpus-per-trial, or add a node",
        )
    return min(fits, asked or fits), teacher / networks if networks else 0.0
