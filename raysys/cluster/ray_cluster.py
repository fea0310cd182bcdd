"""Ray for the time of one session: started or joined, and how many trials fit on it as nodes come and go."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

import ray

import raysys
from raysys.cluster.signals import Terminated, held_back, hurried, swept
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

AHEAD = {
    "RAY_preload_python_modules": "torch",
    "RAY_idle_worker_killing_time_threshold_ms": "60000",  # else they end as soon as trials hold the CPUs
}
"""For a Ray that starts here: its first workers import torch at once, and then wait for the trials."""

CODE = {"py_modules": [str(Path(raysys.__file__).parent)]}
"""What Ray brings to the workers of a cluster that is joined."""

TEACHER_GPUS = 0.1
"""Share of a GPU that each network of the teacher takes beside the trials."""
HEAD_LOOK_S = 5.0
HEAD_PATIENCE_S = 40.0
"""How long the head may be away; Ray itself gives up after 60 s."""
LOOK_S = 1.0
"""How old what is known of the nodes may be."""

Node = Mapping[str, float]
"""What a node has in all: CPU, GPU, ..."""

_log = logging.getLogger(__name__)


@contextmanager
def ray_session(
    address: str, log: str | Path, on_loss: Callable[[], object] = lambda: None, ahead: bool = False
) -> Iterator[None]:
    """Ray at `address` (`local` starts one for this process; `ahead`: all its workers import torch first).

    What Ray and this driver have to say goes to `log`, also what Ray prints. A cluster that is joined gets
    this raysys for its workers, whatever is installed there. Raises UnreachableError.

    Where the cluster's head is lost, what waits for Ray waits for ever, until Ray ends the process without a
    word: before that, `on_loss` is called in another thread, and the process exits as for an unreachable
    cluster.
    """
    local = address == "local"
    told, own = logging.getLogger("ray"), logging.getLogger("raysys")
    handler = logging.FileHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = own.level
    own.addHandler(handler)
    own.setLevel(min(own.getEffectiveLevel(), logging.INFO))
    ended = threading.Event()
    try:
        with redirect_stdout(handler.stream):  # Ray prints what befalls its nodes, some of it at the end
            try:
                _start(address, AHEAD if ahead else {})
                told.handlers = [handler]
                head = ray.get_runtime_context().gcs_address
                watch = (head, ended, on_loss)
                threading.Thread(target=_watch_head, args=watch, name="head", daemon=True).start()
                with _plain_trials() if local else nullcontext():
                    yield
            finally:
                ended.set()
                with swept(), hurried():
                    ray.shutdown()  # of a Ray whose start was interrupted it ends only a part
    finally:
        told.handlers = []
        own.removeHandler(handler)
        own.setLevel(level)
        handler.close()


def _start(address: str, more: dict[str, str]) -> None:
    for name, value in (ENVIRONMENT | more).items():
        os.environ.setdefault(name, value)
    local = address == "local"
    try:
        with held_back():
            ray.init(
                address=address,
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=None if local else CODE,
            )
    except SystemExit as end:
        if end.code == signal.SIGTERM:  # so Ray answers one that another thread of this process took
            raise Terminated from end
        raise
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.AuthenticationError) as error:
        raise _unreachable(address, error) from error


@contextmanager
def _plain_trials() -> Iterator[None]:
    """While entered, trials run in workers that Ray has started ahead.

    Tune names environment variables for each trial, and such a worker only fits where none are named. It
    has the driver's, like all on this machine. With a Tune that keeps them elsewhere, trials start later.
    """
    try:
        from ray.tune.execution.class_cache import DEFAULT_ENV_VARS, ENV_VARS_TO_PROPAGATE
    except ImportError:
        yield
        return
    before = DEFAULT_ENV_VARS.copy(), ENV_VARS_TO_PROPAGATE.copy()
    DEFAULT_ENV_VARS.clear()
    ENV_VARS_TO_PROPAGATE.clear()
    try:
        yield
    finally:
        DEFAULT_ENV_VARS.update(before[0])
        ENV_VARS_TO_PROPAGATE.update(before[1])


def _watch_head(address: str, ended: threading.Event, on_loss: Callable[[], object]) -> None:
    host, _, port = address.rpartition(":")
    heard = time.monotonic()
    while not ended.wait(HEAD_LOOK_S):
        try:
            socket.create_connection((host, int(port)), timeout=HEAD_LOOK_S).close()
            heard = time.monotonic()
        except OSError:
            if time.monotonic() - heard > HEAD_PATIENCE_S and not ended.is_set():
                on_loss()
                os._exit(UnreachableError.exit_code)


def _unreachable(address: str, error: Exception) -> UnreachableError:
    cause = error.__cause__ or error  # of a failed connection a traceback as text
    why = str(cause).strip().rpartition("\n")[2]
    if isinstance(error, ray.exceptions.AuthenticationError) or "AuthenticationError" in str(cause):
        return UnreachableError(
            f"the Ray cluster at {address} does not accept this machine's token",
            why.partition("Error: ")[2].partition(" Ensure")[0] or why.partition(" Ensure")[0],
            "RAY_AUTH_MODE=token, and the same token in RAY_AUTH_TOKEN or in ~/.ray/auth_token, must be set"
            " here and on all nodes",
        )
    return UnreachableError(f"no Ray cluster at {address}", why, "start one, or use --address local")


def nodes() -> list[Node]:
    """The nodes that are alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def fits(each: Resources, there: Sequence[Node], taken_gpus: float = 0.0) -> int:
    """How many trials fit on these nodes at once, beside what takes so much of their GPUs."""
    count = 0
    for node in there:
        gpus = node.get("GPU", 0.0)
        taken = min(gpus, taken_gpus)
        taken_gpus -= taken
        pairs = ((node.get("CPU", 0.0), each.cpus_per_trial), (gpus - taken, each.gpus_per_trial))
        count += min((int(has / need + 1e-9) for has, need in pairs if need), default=1)
    return count


def teacher_gpus(each: Resources, there: Sequence[Node], networks: int) -> float:
    """The GPU share of each of the teacher's `networks`.

    They work on the CPU where trials do, or where a trial needs every GPU.
    """
    on_gpus = each.gpus_per_trial and fits(each, there, TEACHER_GPUS * networks)
    return TEACHER_GPUS if on_gpus and networks else 0.0


class Places:
    """How many trials may be under way, as nodes come and go.

    As many as fit, `pack` of them in each place, at most `asked`. A cluster that was `joined` is asked for
    all that are asked for, also while they do not fit: an autoscaler starts nodes for trials that wait. Each
    of the teacher's `networks` has the share `teacher_gpus` of a GPU for itself, as the nodes are at the
    start.
    """

    def __init__(
        self,
        each: Resources,
        asked: int | None,
        joined: bool,
        networks: int,
        look: Callable[[], Sequence[Node]] = nodes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pack = 1
        self._each = each
        self._asked = asked
        self._waits = joined and asked is not None
        self.teacher_gpus = teacher_gpus(each, look(), networks)
        self._taken_gpus = self.teacher_gpus * networks
        self._look = look
        self._clock = clock
        self._looked = -LOOK_S
        self._fits = -1

    @property
    def fitting(self) -> int:
        """How many trials fit on the nodes that are there now."""
        if self._clock() - self._looked >= LOOK_S:
            there = self._look()
            found = fits(self._each, there, self._taken_gpus)
            if found != self._fits:
                _log.info("%d trials fit on %d nodes", found * self.pack, len(there))
            self._fits, self._looked = found, self._clock()
        return self._fits * self.pack

    @property
    def count(self) -> int:
        """How many trials may be under way now: at least one, which then waits."""
        most = self.fitting if self._asked is None else self._asked
        return most if self._waits else max(1, min(self.fitting, most))

    def check(self) -> None:
        """Raise UnreachableError when no trial fits, and none shall wait."""
        if self.fitting or self._waits:
            return
        has = {name: sum(node.get(name, 0.0) for node in self._look()) for name in ("CPU", "GPU")}
        each = self._each
        raise UnreachableError(
            f"no trial can start: each needs {each.cpus_per_trial:g} CPU and {each.gpus_per_trial:g} GPU"
            " of one node",
            f"the cluster's nodes have {has['CPU']:g} CPU and {has['GPU']:g} GPU in all",
            "use smaller --cpus-per-trial and --gpus-per-trial, or add a node;"
            " with --address and --concurrent N the run waits for nodes",
        )
