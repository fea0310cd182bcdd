"""Ray for the time of one session: started or joined, and how many trials fit on it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

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


@contextmanager
def ray_session(address: str, log: Path) -> Iterator[None]:
    """Ray at `address` (`local` starts one for this process), telling `log` what it has to tell.

    Raises UnreachableError.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
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
    told = logging.getLogger("ray")
    told.handlers = [logging.FileHandler(log)]
    try:
        yield
    finally:
        ray.shutdown()
        told.handlers = []


def trials_at_once(each: Resources, asked: int | None) -> int:
    """How many trials run at once: what fits, at most `asked`. Raises UnreachableError when none fits."""
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    needs = {"CPU": each.cpus_per_trial, "GPU": each.gpus_per_trial}
    fits = min((int(there.get(kind, 0) / need) for kind, need in needs.items() if need), default=1)
    if fits < 1:
        raise UnreachableError(
            f"no trial can start: each needs {needs['CPU']:g} CPU and {needs['GPU']:g} GPU",
            f"the cluster has {there.get('CPU', 0):g} CPU and {there.get('GPU', 0):g} GPU",
            "use smaller --cpus-per-trial and --gpus-per-trial, or add a node",
        )
    return min(fits, asked or fits)
