"""Explorations that lose parts of themselves: real kill -9 on the way, exact books at the end."""

import time
from pathlib import Path

import pytest
from crash_runs import Kill, Workshop, check, storm, wait_for_requests

from raysys.records import TrialStatus
from raysys.store.reader import read_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 20261121
"""Of the order of the victims and the moments of the kills."""


def test_every_query_is_charged_once_whatever_is_killed(tmp_path: Path) -> None:
    victims = {"teacher": 8, "worker": 10, "driver": 4, "server": 3}
    with Workshop(tmp_path) as workshop:
        outcome = storm(workshop, SEED, victims, trials=40)
    assert len(outcome.kills) == 25
    assert not outcome.faults, f"kill schedule {SEED}: {'; '.join(outcome.faults)}"


def test_a_run_goes_on_when_its_server_is_killed_and_restarted(tmp_path: Path) -> None:
    with Workshop(tmp_path) as workshop:
        outcome = storm(workshop, SEED, {"server": 1}, trials=6)
    assert not outcome.faults, "; ".join(outcome.faults)


def test_a_run_whose_server_is_gone_for_good_ends_with_6_and_can_be_resumed(tmp_path: Path) -> None:
    with Workshop(tmp_path, "-s", "teacher.http.retries=1") as workshop:
        workshop.explore(trials=4)
        wait_for_requests(workshop, 10)
        before = time.time()
        workshop.server.kill()
        workshop.server.wait()
        killed = Kill("server", before, time.time())
        assert workshop.wait() == 6
        said = workshop.said("driver")
        assert f"the teacher at {workshop.url}/v2/models/digits/infer" in said
        assert f"raysys tune --resume {workshop.run}" in said
        cut_off = {r.uid for r in read_run(workshop.run).records() if r.status is TrialStatus.INTERRUPTED}
        answered = workshop.requests()
        assert cut_off
        assert answered >= 10

        workshop.serve()
        workshop.wait_for_server()
        workshop.resume()
        assert workshop.wait() == 0, workshop.said("driver")
        outcome = check(workshop, [killed])
    assert not outcome.faults, "; ".join(outcome.faults)
