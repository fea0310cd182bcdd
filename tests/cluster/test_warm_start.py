"""Which runs a new one may learn from. What it learns: `test_same_search.py`, on real Ray."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edge_runs import UNLABELLED, write_run
from search_runs import SPACE, ended, finished

from raysys.cli.app import main
from raysys.cluster.warm_start import earlier_trials
from raysys.errors import CorruptRunError, UsageError
from raysys.records import TrialRecord, TrialStatus
from raysys.space.load import to_json

TRIALS = finished(4)


def stored(folder: Path, records: Sequence[TrialRecord] = TRIALS, **changes: Any) -> Path:
    """A run in the space of `search_runs` with these trials."""
    space = {**to_json(SPACE), **changes.pop("space", {})}
    write_run(folder, records, space=space, **{"method": SPACE.method, "response": SPACE.response, **changes})
    return folder


def test_finished_trials_inside_the_ranges_count_run_by_run(tmp_path: Path) -> None:
    outside = ended(5, TrialStatus.FINISHED)
    outside = replace(outside, config=replace(outside.config, options={"query_budget": 500}))
    others = [
        ended(4, TrialStatus.STOPPED),
        outside,
        ended(6, TrialStatus.FAILED),
        ended(7, TrialStatus.FINISHED),
    ]
    runs = [stored(tmp_path / "a", [*others[::-1], *TRIALS[::-1]]), stored(tmp_path / "b", TRIALS[:1])]
    said: list[str] = []
    found = earlier_trials(SPACE, runs, said.append)
    assert [one.uid for one in found] == ["u00000", "u00001", "u00002", "u00003", "u00007", "u00000"]
    assert said == [
        f"warm start: 5 of 8 trials of {runs[0]} fit this space",
        f"warm start: 1 of 1 trials of {runs[1]} fit this space",
    ]


def test_without_a_run_there_is_nothing_to_learn_from() -> None:
    assert earlier_trials(SPACE, [], pytest.fail) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"dataset": "mnist"}}, "its data set is mnist, not digits"),
        ({"method": "noise"}, "its method is noise, not ideal"),
        ({"response": "soft"}, "its response is soft, not hard"),
        ({"space": {"student": "mlp"}}, "its student is mlp, not lenet5"),
        (UNLABELLED, "its objective is agreement, not val_accuracy"),
        ({"records": [ended(0, TrialStatus.STOPPED)]}, "none of its 1 trials fits the space toy"),
        ({"records": []}, "none of its 0 trials fits the space toy"),
    ],
)
def test_a_run_about_something_else_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    run = stored(tmp_path / "run", **changes)
    with pytest.raises(UsageError, match=message):
        earlier_trials(SPACE, [run], lambda line: None)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptRunError, match="is no run"):
        earlier_trials(SPACE, [tmp_path], lambda line: None)


def test_the_command_refuses_before_it_writes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stored(tmp_path / "other", method="noise")
    assert main(["tune", "--space", "digits", "--warm-start", "other", "--storage", "new"]) == 2
    assert "--warm-start" in capsys.readouterr().err
    assert main(["tune", "--space", "digits", "--warm-start", "nowhere", "--storage", "new"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not Path("new").exists()
