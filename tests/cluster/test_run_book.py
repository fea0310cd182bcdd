from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from edge_runs import config, manifest, report, trial

from raysys.cluster.run_book import FLUSH_S, RunBook
from raysys.records import Report, TrialRecord, TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.manifest import write_manifest
from raysys.store.reader import read_run
from raysys.store.writer import RunWriter


class World:
    """A book over a real writer, its clock, and what a reader of the run sees."""

    def __init__(self, root: Path, records: list[TrialRecord]) -> None:
        self.layout = RunLayout(root)
        write_manifest(self.layout, manifest(trials=4))
        self.now = 0.0
        self.writer = RunWriter(self.layout)
        self.book = RunBook(self.writer, records, lambda: self.now)

    def seen(self) -> dict[str, TrialRecord]:
        return {record.uid: record for record in read_run(self.layout).records()}

    def reports(self) -> list[tuple[str, int, int]]:
        table = read_run(self.layout).reports
        return [(row["uid"], row["step"], row["attempt"]) for row in table.to_pylist()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, [])
    yield made
    made.writer.close()


def life(world: World, number: int, reports: list[Report]) -> None:
    world.book.suggested(config(number))
    world.book.started(config(number).uid)
    for one in reports:
        world.book.reported([one])


def test_a_trial_is_on_disk_before_it_starts_and_at_each_turn(world: World) -> None:
    uid = config(0).uid
    world.book.suggested(config(0))
    assert world.seen()[uid].status is TrialStatus.PENDING
    world.book.started(uid)
    assert world.seen()[uid].status is TrialStatus.RUNNING
    world.book.reported([report(0, 0, queries=10), report(0, 1, queries=20, val_accuracy=0.7, seconds=3.0)])
    world.book.ended(uid, TrialStatus.FINISHED, weights_sha256="ab")
    row = world.seen()[uid]
    assert (row.status, row.queries, row.val_accuracy, row.seconds) == (TrialStatus.FINISHED, 20, 0.7, 3.0)
    assert (row.attempt, row.weights_sha256) == (1, "ab")
    assert row.config == config(0)
    assert row == world.book.records[uid]


def test_reports_are_on_disk_before_the_end_that_follows_them(world: World) -> None:
    life(world, 0, [report(0, 0), report(0, 1)])
    assert world.reports() == []
    world.book.ended("u00000", TrialStatus.STOPPED)
    assert world.reports() == [("u00000", 0, 1), ("u00000", 1, 1)]


def test_reports_wait_no_longer_than_a_second(world: World) -> None:
    life(world, 0, [report(0, 0)])
    world.now = FLUSH_S / 2
    world.book.tick()
    assert world.reports() == []
    world.now = FLUSH_S
    world.book.tick()
    assert world.reports() == [("u00000", 0, 1)]


def test_reports_that_come_twice_stand_once_in_the_table(world: World) -> None:
    life(world, 0, [report(0, 0), report(0, 1)])
    world.book.tick()
    again = [report(0, 0), report(0, 1), report(0, 2, attempt=2, queries=300)]
    world.book.reported(again)
    world.book.ended("u00000", TrialStatus.FINISHED)
    assert world.reports() == [("u00000", 0, 1), ("u00000", 1, 1), ("u00000", 2, 2)]
    assert world.seen()["u00000"].queries == 300


def test_an_interruption_leaves_what_had_ended_alone(world: World) -> None:
    for number, status in enumerate([TrialStatus.FINISHED, TrialStatus.STOPPED, TrialStatus.FAILED]):
        life(world, number, [])
        world.book.ended(config(number).uid, status, error="why" if status is TrialStatus.FAILED else "")
    life(world, 3, [report(3, 0, queries=70)])
    world.book.suggested(config(4))
    world.book.interrupt()
    assert [row.status.value for _, row in sorted(world.seen().items())] == [
        "finished",
        "stopped",
        "failed",
        "interrupted",
        "interrupted",
    ]
    assert world.seen()["u00003"].queries == 70
    assert world.seen()["u00002"].error == "why"


def test_a_trial_suggested_again_keeps_what_it_reached(tmp_path: Path) -> None:
    before = trial(0, TrialStatus.INTERRUPTED, queries=70, val_accuracy=0.6, error="lost its node")
    world = World(tmp_path, [before])
    world.book.suggested(before.config)
    assert world.seen() == {before.uid: replace(before, status=TrialStatus.PENDING, error="")}
    world.writer.close()


def test_results_on_test_are_written(tmp_path: Path) -> None:
    world = World(tmp_path, [trial(0), trial(1)])
    world.book.tested({"u00001": (0.93, 0.95), "u00000": (None, 0.9)})
    assert world.seen()["u00001"].test_accuracy == 0.93
    assert world.seen()["u00001"].test_agreement == 0.95
    assert world.book.records["u00000"].test_accuracy is None
    world.writer.close()


def test_failed_trials_are_a_share_of_the_planned_ones(tmp_path: Path) -> None:
    world = World(tmp_path, [trial(0), trial(1, TrialStatus.FAILED), trial(2, TrialStatus.FAILED)])
    assert world.book.share_failed(8) == 0.25
    assert world.book.share_failed(0) == 0
    world.writer.close()
