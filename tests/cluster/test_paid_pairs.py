"""What a trial leaves beside its student: all that it paid for, whatever its method kept of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_trial import TASK, CutOff, Door, config, held_out, linear, real_images

from raysys.cluster.one_trial import run_one
from raysys.oracle import Oracle
from raysys.records import TrialConfig
from raysys.store.layout import RunLayout
from raysys.store.pairs import has_pairs, read_pairs
from raysys.teacher.local import TorchTeacher
from raysys.teacher.service import LocalOracle

KINDS: dict[str, dict[str, Any]] = {
    "ideal": {"warmup_share": 0.4, "warmup_rounds": 2},
    "views asked anew": {"labels": "official", "query_budget": 130},
    "searches": {"method": "db3kd", "query_budget": 120, "block": 2, "final_passes": 1},
    "nothing in the pool": {
        "method": "dfme",
        "response": "soft",
        "query_budget": 80,
        "batch": 8,
        "replay": 0,
        "passes": 0,
        "final_passes": 0,
        "pool_limit": 0,
        "rounds": 1,
    },
}


def work(folder: Path, door: Door, what: TrialConfig, line: CutOff) -> None:
    def open_oracle(uid: str, budget: int) -> Oracle:
        return line(LocalOracle(door.service, uid, budget))

    run_one(
        what, TASK, open_oracle, held_out(), RunLayout(folder), lambda reports: None, lambda: 0.0, "cpu",
        real_images(what),
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_what_the_ledger_answered_in_order(tmp_path: Path, kind: str) -> None:
    what = config(**KINDS[kind])
    with Door(tmp_path / "ledger", what.response) as door:
        line = CutOff()
        work(tmp_path, door, what, line)
        compare(tmp_path, door, what.response)
    for number, after in (
        (0, True),
        (line.calls // 2, False),
        (line.calls // 2, True),
        (line.calls - 1, True),
    ):
        folder = tmp_path / f"{number}{after}"
        with Door(folder / "ledger", what.response) as door:
            with pytest.raises(InterruptedError):
                work(folder, door, what, CutOff(number, after))
            assert not has_pairs(RunLayout(folder), "u00000")
            work(folder, door, what, CutOff())
            compare(folder, door, what.response)


def compare(folder: Path, door: Door, response: str) -> None:
    """The kept pairs against what the teacher itself saw, and says."""
    images, answer = read_pairs(RunLayout(folder), "u00000")
    asked = np.concatenate(door.teacher.asked)
    assert len(images) == door.account().charged
    np.testing.assert_array_equal(images, asked)
    told = TorchTeacher(linear()).answer(asked)
    np.testing.assert_array_equal(answer.labels, told.labels)
    if response == "soft":
        np.testing.assert_allclose(answer.probabilities, told.probabilities, rtol=1e-5)
    else:
        assert answer.probabilities is None
