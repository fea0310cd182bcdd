from pathlib import Path

import pytest
from edge_runs import config, manifest

from raysys.cluster.brakes import Brakes, Ended
from raysys.cluster.machine import Machine
from raysys.cluster.run_book import RunBook
from raysys.cluster.signals import SoftStop
from raysys.records import TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState, write_manifest
from raysys.store.writer import RunWriter

TOO_MANY = "20% of the trials failed, more than 10%"


@pytest.mark.parametrize(
    ("failed", "all_ended", "ended"),
    [
        (2, False, Ended(RunState.FAILED, 3, TOO_MANY)),
        (2, True, Ended(RunState.FAILED, 3, TOO_MANY)),
        (1, True, Ended(RunState.FINISHED, 0, "")),
    ],
)
def test_a_run_in_which_too_many_trials_fail_ends_at_once_with_3(
    tmp_path: Path, failed: int, all_ended: bool, ended: Ended
) -> None:
    run = manifest(trials=10)
    write_manifest(RunLayout(tmp_path), run)
    with RunWriter(RunLayout(tmp_path)) as writer:
        book = RunBook(writer, [], lambda: 0.0)
        machine = Machine(data_root=tmp_path, cache=tmp_path, max_failures=0.1)
        brakes = Brakes(SoftStop(), machine, run, book, lambda: 0.0)
        for number in range(10 if all_ended else failed):
            status = TrialStatus.FAILED if number < failed else TrialStatus.FINISHED
            book.suggested(config(number))
            book.ended(config(number).uid, status)
        assert (brakes.reason(), brakes.ended(cap_reached=False)) == (ended.reason, ended)
