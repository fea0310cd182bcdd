"""At milestones every method reports what it would deliver there, and goes on as if it had not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_trial import DFME, CountingTeacher, CutOff, Door, MemoryKeeper, config, real_images, timeless, train

from raysys.distill.options import METHODS
from raysys.distill.trial import Outcome
from raysys.models.weights import state_sha256
from raysys.oracle import Images, Response
from raysys.records import TrialConfig
from raysys.teacher.backend import Meter

SEARCHES: dict[str, Any] = {"distance": "minimal", "bisections": 2, "neighbours": 4, "turns": 2, "block": 4}
KINDS: dict[str, dict[str, Any]] = {
    "ideal": {"warmup_share": 0.4, "warmup_rounds": 2, "ema": 0.5, "generations": 2, "self_distill": 0.5},
    "official": {"labels": "official", "query_budget": 130},
    "noise": {"method": "noise", "rounds": 3, "candidates": 2, "mixup": 0.2},
    "surrogate": {"method": "surrogate", "rounds": 3, "candidates": 2, "restart": True},
    "dfme": {
        **DFME,
        "replay": 2,
        "ema": 0.5,
    },
    "db3kd": {"method": "db3kd", "query_budget": 140, **SEARCHES, "candidates": 2},
    "zsdb3kd": {"method": "zsdb3kd", "query_budget": 150, **SEARCHES, "moves": 1, "search_rounds": 1},
}
AT = (7, 20, 33)
"""Within a request, at the end of one, and within one again."""


def at_milestones(kind: str, *milestones: int, **options: Any) -> TrialConfig:
    return replace(config(**{**KINDS[kind], **options}), milestones=milestones)


class OneByOne(CountingTeacher):
    """Answers each image alone: the last bits of a probability do not depend on what is asked beside it."""

    def predict(self, images: Images, meter: Meter) -> Response:
        self.asked.append(images)
        replies = [self._teacher.predict(image[None], meter) for image in images]
        told = [reply.probabilities for reply in replies if reply.probabilities is not None]
        return Response(np.concatenate([reply.labels for reply in replies]), np.concatenate(told))


def run(folder: Path, what: TrialConfig, cap: int | None = None, cut: Any = None) -> tuple[Outcome, Door]:
    with Door(folder, what.response, cap, teacher=OneByOne()) as door:
        return train(door, what, wrap=cut or (lambda oracle: oracle), images=real_images(what)), door


def test_all_shipped_methods_are_tried() -> None:
    assert {options.get("method", "ideal") for options in KINDS.values()} == METHODS.keys()


@pytest.mark.parametrize("final_passes", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_milestones_change_nothing_but_the_reports(tmp_path: Path, kind: str, final_passes: int) -> None:
    plain, before = run(tmp_path / "plain", at_milestones(kind, final_passes=final_passes))
    other, after = run(tmp_path / "other", at_milestones(kind, *AT, final_passes=final_passes))
    assert after.account() == before.account()
    passed = [milestone for milestone in AT if milestone < after.account().charged]
    assert [report.queries for report in other.reports if report.milestone] == passed != []
    assert state_sha256(other.student) == state_sha256(plain.student)
    curve = [replace(report, step=0) for report in other.reports if not report.milestone]
    assert timeless(curve) == timeless([replace(report, step=0) for report in plain.reports])
    assert not other.reports[-1].milestone, "the row of a finished trial is of its student"


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off_anywhere_it_tells_the_same_at_a_milestone_and_pays_once(tmp_path: Path, kind: str) -> None:
    what, line = at_milestones(kind, *AT), CutOff()
    straight, door = run(tmp_path / "straight", what, cut=line)
    for number in range(0, 2 * line.calls, line.calls // 3 | 1):
        keeper, own = MemoryKeeper(), tmp_path / str(number)
        cut = CutOff(number // 2, after=number % 2 == 1)
        with Door(own, what.response, teacher=OneByOne()) as first, pytest.raises(InterruptedError):
            train(first, what, keeper, cut, images=real_images(what))
        with Door(own, what.response, teacher=OneByOne()) as second:
            resumed = train(second, what, keeper, images=real_images(what))
        assert timeless(resumed.reports) == timeless(straight.reports)
        assert second.account() == door.account()


@pytest.mark.parametrize("kind", ["ideal", "noise", "dfme"])
def test_a_cap_that_ends_the_asking_at_a_milestone_leaves_the_last_report_to_the_student(
    tmp_path: Path, kind: str
) -> None:
    outcome, door = run(tmp_path, at_milestones(kind, *AT, final_passes=0), cap=20)
    assert door.account().charged == outcome.reports[-1].queries == 20
    assert not outcome.reports[-1].milestone
    assert [report.queries for report in outcome.reports if report.milestone][:1] == [7]


def test_a_preview_without_final_passes_is_the_student_of_that_moment(tmp_path: Path) -> None:
    what = at_milestones("noise", 17, final_passes=0, rounds=3, candidates=1)
    outcome, _ = run(tmp_path, what)
    first, milestone = outcome.reports[:2]
    assert (first.queries, first.milestone, milestone.queries, milestone.milestone) == (17, False, 17, True)
    assert (first.val_accuracy, first.agreement) == (milestone.val_accuracy, milestone.agreement)


def test_milestones_at_and_beyond_the_budget_are_none(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, at_milestones("noise", 50, 70))
    assert not any(report.milestone for report in outcome.reports)
