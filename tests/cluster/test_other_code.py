"""A worker with another raysys than the driver's trains nothing, and a run of one's own needs no cluster."""

from pathlib import Path
from typing import Any

import pytest
from edge_runs import config
from ray import tune

from raysys.cluster.trainable import TrialContext, trainable
from raysys.source import code_id


def test_a_worker_with_another_raysys_ends_the_run_before_it_does_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", told.append)
    nothing: Any = None
    context = TrialContext(str(tmp_path), nothing, nothing, nothing, 1, "cpu", None, "0.0.9 (source 0123)")
    trainable(vars(config(0)), context)
    [last] = told
    assert (last["status"], last["exit_code"]) == ("interrupted", 6)
    for part in ("has another raysys than the driver", "0.0.9 (source 0123)", code_id(), "raysys doctor"):
        assert part in last["error"]
    assert list(tmp_path.iterdir()) == []
