"""A worker that has another raysys than the driver, or another storage, trains nothing."""

from pathlib import Path
from typing import Any

import pytest
from edge_runs import config
from ray import tune

from raysys.cluster.trainable import TrialContext, trainable
from raysys.source import code_id
from raysys.store.layout import RunLayout


def ended(folder: Path, code: str) -> dict[str, Any]:
    """The one result of a trial whose run lies in `folder`, so the driver says, which has raysys `code`."""
    nothing: Any = None
    context = TrialContext(RunLayout(folder), nothing, nothing, nothing, 1, "cpu", None, code)
    told: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "report", told.append)
        trainable(vars(config(0)), context)
    [last] = told
    assert (last["status"], last["exit_code"]) == ("interrupted", 6)
    return last


def test_a_worker_with_another_raysys_ends_the_run_before_it_does_anything(tmp_path: Path) -> None:
    error = ended(tmp_path, "0.0.9 (source 0123)")["error"]
    for part in ("has another raysys than the driver", "0.0.9 (source 0123)", code_id(), "raysys doctor"):
        assert part in error
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_does_not_see_the_run_makes_no_folder_of_its_own(tmp_path: Path) -> None:
    error = ended(tmp_path / "runs" / "first", code_id())["error"]
    assert "does not see the run" in error and str(tmp_path / "runs" / "first" / "run.json") in error
    assert list(tmp_path.iterdir()) == []
