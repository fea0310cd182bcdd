from pathlib import Path
from typing import Any

import pytest
from edge_runs import write_run
from search_runs import SPACE, ended

from raysys.cluster.warm_start import earlier_trials
from raysys.errors import UsageError
from raysys.records import TrialStatus
from raysys.space.load import to_json


def run(path: Path, records: list[Any], **changes: Any) -> Path:
    write_run(path, records, space={**to_json(SPACE), **changes})
    return path


def test_finished_trials_that_fit_the_space_are_taken_in_the_order_of_the_runs(tmp_path: Path) -> None:
    said: list[str] = []
    one = run(tmp_path / "one", [ended(1, TrialStatus.FINISHED), ended(0, TrialStatus.STOPPED)])
    two = run(tmp_path / "two", [ended(2, TrialStatus.FINISHED), ended(3, TrialStatus.FAILED)])
    assert [record.uid for record in earlier_trials(SPACE, [two, one], said.append)] == ["u00002", "u00001"]
    assert said[0] == f"warm start: 1 of 2 trials of {two} fit this space"


@pytest.mark.parametrize(
    ("changes", "status", "why"),
    [
        ({"dataset": "mnist"}, TrialStatus.FINISHED, "its data set is mnist, not digits"),
        ({"student": "mlp"}, TrialStatus.FINISHED, "its student is mlp, not lenet5"),
        ({}, TrialStatus.STOPPED, "none of its 1 trials fits the space toy"),
    ],
)
def test_what_teaches_nothing_is_refused(
    tmp_path: Path, changes: dict[str, Any], status: TrialStatus, why: str
) -> None:
    path = run(tmp_path / "run", [ended(0, status)], **changes)
    with pytest.raises(UsageError, match=f"--warm-start .*: {why}"):
        earlier_trials(SPACE, [path], lambda text: None)
