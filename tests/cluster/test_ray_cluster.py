import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from raysys.cluster.ray_cluster import Node, Places, fits, teacher_gpus
from raysys.errors import UnreachableError
from raysys.space.schema import Resources


@pytest.mark.parametrize(
    ("cpus", "gpus", "there", "count"),
    [
        (1, 0, [{"CPU": 4}], 4),
        (2, 0, [{"CPU": 5}], 2),
        (2, 0, [{"CPU": 1}, {"CPU": 1}, {"CPU": 3}], 1),  # not across nodes
        (0.1, 0, [{"CPU": 0.3}], 3),
        (0, 0, [{"CPU": 2}], 1),
        (1, 0.25, [{"CPU": 8}, {"CPU": 2, "GPU": 1}, {"CPU": 8, "GPU": 2}], 10),
        (1, 0, [], 0),
    ],
)
def test_a_trial_runs_on_one_node(cpus: float, gpus: float, there: list[Node], count: int) -> None:
    assert fits(Resources(cpus_per_trial=cpus, gpus_per_trial=gpus), there) == count


@pytest.mark.parametrize(
    ("gpus", "networks", "there", "share", "count"),
    [
        (0, 1, [{"CPU": 8, "GPU": 1}], 0.0, 8),
        (0.25, 0, [{"CPU": 8, "GPU": 1}], 0.0, 4),
        (0.25, 1, [{"CPU": 8, "GPU": 1}], 0.1, 3),  # beside the teacher's share
        (0.25, 2, [{"CPU": 8, "GPU": 1}], 0.1, 3),
        (0.25, 5, [{"CPU": 8, "GPU": 1}], 0.1, 2),
        (0.25, 9, [{"CPU": 8, "GPU": 1}], 0.0, 4),
        (1, 1, [{"CPU": 8, "GPU": 1}], 0.0, 1),  # the whole GPU: else the trial would wait for ever
        (1, 1, [{"CPU": 8, "GPU": 1}, {"CPU": 8, "GPU": 1}], 0.1, 1),
    ],
)
def test_each_network_of_the_teacher_takes_a_share(
    gpus: float, networks: int, there: list[Node], share: float, count: int
) -> None:
    each = Resources(cpus_per_trial=1, gpus_per_trial=gpus)
    assert teacher_gpus(each, there, networks) == share
    assert fits(each, there, share * networks) == count


class Cluster:
    """Nodes of one CPU that come and go, and time."""

    def __init__(self, nodes: int) -> None:
        self.nodes, self.now = nodes, 0.0

    def look(self) -> Sequence[Node]:
        return [{"CPU": 1.0}] * self.nodes

    def places(self, asked: int | None, joined: bool) -> Places:
        return Places(Resources(cpus_per_trial=1), asked, joined, 1, self.look, lambda: self.now)


@pytest.mark.parametrize(
    ("asked", "joined", "counts"),
    [
        (None, False, [2, 5, 1, 1]),
        (3, False, [2, 3, 1, 1]),
        (None, True, [2, 5, 1, 1]),
        (3, True, [3, 3, 3, 3]),  # some wait, and an autoscaler sees them
    ],
)
def test_places_follow_the_nodes(asked: int | None, joined: bool, counts: list[int]) -> None:
    cluster, found = Cluster(2), []
    places = cluster.places(asked, joined)
    for cluster.nodes in (2, 5, 0, 1):
        cluster.now += 1
        found.append(places.count)
        assert places.fitting == cluster.nodes
    assert found == counts


def test_what_can_never_start_is_refused() -> None:
    for asked, joined in ((None, False), (2, False), (None, True)):
        with pytest.raises(UnreachableError, match="each needs 1 CPU and 0 GPU of one node"):
            Cluster(0).places(asked, joined).check()
    Cluster(0).places(2, joined=True).check()


LOST_PROGRAM = """
import threading
from raysys.cluster import ray_cluster
ray_cluster.HEAD_LOOK_S, ray_cluster.HEAD_PATIENCE_S = 0.05, 0.2
ray_cluster._watch_head("127.0.0.1:1", threading.Event(), lambda: print("lost", flush=True))
"""


def test_a_driver_whose_head_is_gone_says_so_and_exits_with_6() -> None:
    done = subprocess.run([sys.executable, "-c", LOST_PROGRAM], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (6, "lost\n"), done.stderr


AHEAD_PROGRAM = """
import os, sys, time
import psutil
from ray import tune
from raysys.cluster.ray_cluster import ray_session

def trial(config):
    tune.report({"started": psutil.Process().create_time(), "torch": "torch" in sys.modules})

with ray_session("local", sys.argv[1], ahead=True):
    workers = []
    while not any(one.name() == "ray::IDLE" for one in workers):
        workers = psutil.Process().children(recursive=True)
        time.sleep(0.1)
    began = time.time()
    run = tune.RunConfig(storage_path=sys.argv[2], verbose=0)
    (result,) = tune.Tuner(trial, run_config=run).fit()
print("told:", result.metrics["started"] < began, result.metrics["torch"])
"""


@pytest.mark.slow
def test_a_trial_runs_in_a_process_that_was_started_ahead(tmp_path: Path) -> None:
    command = [sys.executable, "-c", AHEAD_PROGRAM, str(tmp_path / "log"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert "told: True True" in done.stdout.splitlines(), done.stderr


LEAVES_PROGRAM = """
import signal, sys, threading
import psutil
from raysys.cluster.ray_cluster import ray_session

def leave(*_):
    started = psutil.Process().children(recursive=True)
    for process in started:
        if process.ppid() != psutil.Process().pid:
            process.suspend()
    print(*(process.pid for process in started), file=sys.__stdout__, flush=True)
    sys.exit(input())

if sys.argv[2] == "start":  # a signal that waits until Ray is there
    signal.signal(signal.SIGTERM, leave)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
with ray_session("local", sys.argv[1]):
    leave()
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["start", "session"])
def test_nothing_of_ray_is_left_even_if_it_does_not_notice_the_end(tmp_path: Path, where: str) -> None:
    """What the raylet has started cannot notice it here: it is suspended."""
    command = [sys.executable, "-c", LEAVES_PROGRAM, str(tmp_path / "log"), where]
    driver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert driver.stdout
    started = [psutil.Process(int(pid)) for pid in driver.stdout.readline().split()]
    below = [process for process in started if process.ppid() != driver.pid]
    driver.communicate("left\n", timeout=240)
    _, left = psutil.wait_procs(started, timeout=30)
    for process in left:
        process.kill()
    assert len(below) >= 2, "the raylet's agents"
    assert (driver.returncode, left) == (1, [])


ELSEWHERE_PROGRAM = """
import os, signal, sys, threading, time
import psutil
from raysys.cluster.ray_cluster import ray_session
from raysys.cluster.signals import exit_code, terminable

def end():
    while "raylet" not in (child.name() for child in psutil.Process().children()):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end).start()
try:
    with terminable(), ray_session("local", sys.argv[1]):
        threading.Event().wait()
except KeyboardInterrupt as end:
    sys.exit(exit_code(end))
"""


@pytest.mark.slow
def test_a_sigterm_that_another_thread_takes_while_ray_starts_ends_as_any_other(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ELSEWHERE_PROGRAM, str(tmp_path / "log")]
    assert subprocess.run(command, timeout=240).returncode == 143
