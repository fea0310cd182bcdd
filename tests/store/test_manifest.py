"""run.json and the one before it: damaged, missing, swapped, older and newer ones."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from edge_runs import manifest

from raysys.errors import CorruptRunError
from raysys.store.layout import RunLayout
from raysys.store.manifest import SCHEMA_VERSION, newest_manifest, read_manifest, write_manifest


def flipped(path: Path) -> None:
    path.write_text(path.read_text().replace('"seed": ', '"seed": 1'))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


DAMAGE: list[Callable[[Path], None]] = [truncated, flipped, Path.unlink, lambda path: path.write_text("[]")]


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """A run whose manifest was written for the seeds 0, 1 and 2."""
    made = RunLayout(tmp_path)
    for seed in range(3):
        write_manifest(made, manifest(seed=seed))
    return made


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_manifest_before_it_stands_in_and_is_not_replaced_by_a_damaged_one(
    layout: RunLayout, damage: Callable[[Path], None]
) -> None:
    damage(layout.run_json)
    found, why = newest_manifest(layout)
    assert (found.seed, why.startswith("run.json ")) == (1, True)
    write_manifest(layout, manifest(seed=5))
    assert newest_manifest(layout) == (manifest(seed=5), "")
    layout.run_json.unlink()
    assert read_manifest(layout).seed == 1


@pytest.mark.parametrize("damage", DAMAGE)
def test_nothing_stands_in_for_two_damaged_ones(layout: RunLayout, damage: Callable[[Path], None]) -> None:
    damage(layout.previous_run_json)
    assert newest_manifest(layout) == (manifest(seed=2), "")
    truncated(layout.run_json)
    with pytest.raises(CorruptRunError, match=r"cannot read .*run\.json\n"):
        read_manifest(layout)


def test_the_newer_of_two_that_were_swapped_is_used(layout: RunLayout) -> None:
    current = layout.run_json.read_bytes()
    layout.previous_run_json.rename(layout.run_json)
    layout.previous_run_json.write_bytes(current)
    found, why = newest_manifest(layout)
    assert (found.seed, why) == (2, "run.json is older than run.json.previous, which is used")
    write_manifest(layout, found)
    assert newest_manifest(layout) == (found, "")


def test_one_written_before_there_were_checksums_is_read_and_becomes_the_previous_one(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    old = {**manifest(seed=3).model_dump(mode="json"), "schema_version": 1}
    layout.run_json.write_text(json.dumps(old))
    found = read_manifest(layout)
    assert (found.seed, found.schema_version) == (3, 1)
    write_manifest(layout, found)
    assert read_manifest(layout).schema_version == SCHEMA_VERSION
    layout.run_json.unlink()
    assert read_manifest(layout).seed == 3


def test_how_it_is_written_is_no_damage_and_a_lost_checksum_is(layout: RunLayout) -> None:
    data = json.loads(layout.run_json.read_text())
    layout.run_json.write_text(json.dumps(data, sort_keys=True))
    assert newest_manifest(layout) == (manifest(seed=2), "")
    del data["checksum"]
    layout.run_json.write_text(json.dumps(data))
    assert newest_manifest(layout)[1] == "run.json has no checksum: the one before it is used"
