from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trial import Door, MemoryKeeper, config, linear, pictures, timeless, train

from raysys.distill.collapse import CollapseDetector
from raysys.distill.options import method_options
from raysys.distill.trial import Outcome
from raysys.models.weights import state_sha256
from raysys.oracle import Response
from raysys.teacher.local import TorchTeacher

GENERATED: dict[str, Any] = {"query_budget": 2000, "batch_size": 250, "epochs": 8}
OTHERS: dict[str, dict[str, Any]] = {
    "noise": {"method": "noise", "query_budget": 2000, "rounds": 8},
    "uniform": {"method": "noise", "query_budget": 2000, "rounds": 8, "kind": "uniform"},
    "official": {**GENERATED, "labels": "official"},
    "dfme": {"method": "dfme", "response": "soft", "query_budget": 2000, "batch": 32, "replay": 0},
    "db3kd": {"method": "db3kd", "query_budget": 2000, "distance": "minimal"},
    "zsdb3kd": {"method": "zsdb3kd", "query_budget": 5000},
    "surrogate": {"method": "surrogate", "query_budget": 2000, "rounds": 8},
}


def answers(*counts: int) -> Response:
    """So many answers of class 0, 1, ..."""
    return Response(np.repeat(np.arange(len(counts)), counts))


@pytest.mark.parametrize(
    ("requests", "collapsed"),
    [
        ([answers(250), answers(250)], True),
        ([answers(0, 250), answers(0, 250)], True),
        ([answers(250), answers(249)], False),
        ([answers(5000)], False),  # the method has not seen it yet
        ([answers(1)] * 500, True),
        ([answers(248, 2), answers(247, 3)], True),  # 99.0 %
        ([answers(248, 2), answers(246, 4)], False),
        ([answers(250), answers(0, 250)], False),  # of one class each, but not of the same
        ([answers(250), answers(0, 250), answers(0, 250)], True),
        ([answers(10, 10), answers(250), answers(250)], True),
        ([answers(250), answers(200, 50), answers(250)], False),
        ([answers(250), answers(250), answers(25, 25)], False),
    ],
)
def test_two_requests_of_500_answers_with_99_percent_of_one_class_are_a_collapse(
    requests: list[Response], collapsed: bool
) -> None:
    detector, resumed = CollapseDetector(4, 5000), CollapseDetector(4, 5000)
    for response in requests:
        detector.saw(response)
        resumed.saw(response)
        restored = CollapseDetector(4, 5000)
        restored.load_state_dict(resumed.state_dict())
        resumed = restored
    assert bool(detector.note) == collapsed
    assert resumed.note == detector.note


def test_a_large_budget_is_patient_for_a_tenth() -> None:
    detector = CollapseDetector(4, 20_000)
    for _ in range(7):
        detector.saw(answers(250))
        assert not detector.note
    detector.saw(answers(250))
    assert "class 0 to 100.0% of the last 2,000 images" in detector.note


def one_class() -> TorchTeacher:
    net = linear()
    with torch.no_grad():
        net[1].bias[3] += 1e6  # type: ignore[index, operator, union-attr]
    return TorchTeacher(net)


def collapsing(
    folder: Path,
    options: dict[str, Any],
    keeper: MemoryKeeper | None = None,
    milestones: tuple[int, ...] = (),
) -> Outcome:
    what = replace(config(**options), milestones=milestones)
    images = pictures(1500) if method_options(what.method).needs_images else None
    with Door(folder, what.response, teacher=one_class()) as door:
        return train(door, what, keeper, images=images)


def test_a_teacher_that_says_the_same_to_everything_is_not_asked_to_the_end(tmp_path: Path) -> None:
    outcome = collapsing(tmp_path, GENERATED)
    assert [report.queries for report in outcome.reports] == [250, 500, 500, 500]
    assert outcome.note == (
        "collapsed: the teacher answered class 3 to 100.0% of the last 500 images;"
        " 1,500 of 2,000 queries were left unspent"
    )


@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
def test_so_it_is_for_all_methods(tmp_path: Path, options: dict[str, Any]) -> None:
    outcome = collapsing(tmp_path, options)
    assert "collapsed: the teacher answered class 3" in outcome.note
    assert 500 <= outcome.reports[-1].queries <= 800
    assert all(parameter.isfinite().all() for parameter in outcome.student.parameters())


def test_a_round_is_one_request_though_milestones_part_it(tmp_path: Path) -> None:
    """A method may learn from the first before the second decides."""
    rounds = {**OTHERS["noise"], "rounds": 2, "query_budget": 1200}
    told = [
        collapsing(tmp_path / str(number), rounds, milestones=milestones)
        for number, milestones in enumerate([(), (150, 300, 550)])
    ]
    plain, parted = ([row.queries for row in one.reports if not row.milestone] for one in told)
    assert plain[0] == 600
    assert parted == plain
    assert told[0].note == told[1].note


def test_a_teacher_with_opinions_is_asked_to_the_end(tmp_path: Path) -> None:
    with Door(tmp_path) as door:
        outcome = train(door, config(**OTHERS["noise"]))
    assert (outcome.note, outcome.reports[-1].queries) == ("", 2000)


def test_interrupted_anywhere_a_collapse_is_the_same(tmp_path: Path) -> None:
    straight = collapsing(tmp_path / "straight", GENERATED)
    for number in range(len(straight.reports)):
        keeper = MemoryKeeper(fail_at=number, after=True)
        with pytest.raises(InterruptedError):
            collapsing(tmp_path / str(number), GENERATED, keeper)
        resumed = collapsing(tmp_path / str(number), GENERATED, keeper)
        assert resumed.note == straight.note
        assert timeless(resumed.reports) == timeless(straight.reports)
        assert state_sha256(resumed.student) == state_sha256(straight.student)
