"""Each file of a run, damaged in each way, one at a time: it goes on as if nothing was, or is refused."""

import hashlib
import json
import random
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import ray
import torch
from driven_runs import Halt, go_on, here, start

from raysys.cluster import resume_check
from raysys.cluster.experiment import resume_run
from raysys.cluster.machine import Machine
from raysys.cluster.problem import complete_config
from raysys.cluster.resume_check import Resumable, Wish, examine
from raysys.errors import RaysysError, ResumeError
from raysys.fronts.front import final_front
from raysys.models.weights import read_safetensors
from raysys.records import Report, TrialRecord, TrialStatus
from raysys.space.schema import Space
from raysys.store.audit import Evidence, audit
from raysys.store.layout import RunLayout
from raysys.store.manifest import read_manifest
from raysys.store.reader import read_run
from raysys.teacher.journal import read_accounts, read_ledger

SEED = 20261121
"""Of the bytes that are damaged."""

SPACE = Space.model_validate(
    {
        "name": "search",
        "dataset": "digits",
        "teacher": {"architecture": "lenet5", "recipe": {"epochs": 8, "lr": 3.0e-3, "optimizer": "adamw"}},
        "student": "lenet5",
        "method": "noise",
        "options": {"rounds": 4, "passes": 1, "final_passes": 4, "train_batch": 32},
        "held_out": 100,
        "parameters": {
            "query_budget": {"type": "int", "low": 50, "high": 200},
            "lr": {"type": "float", "low": 1.0e-6, "high": 0.1, "log": True},
        },
        "points": [
            {"values": {"query_budget": 200, "lr": 5.0e-2}},
            {"values": {"query_budget": 200, "lr": 1.0e-6}},
            {"values": {"query_budget": 120, "lr": 2.0e-2}},
            {"values": {"query_budget": 150, "lr": 1.0e-2}},
            {"values": {"query_budget": 160, "lr": 3.0e-2}},
        ],
        "trials": 6,
    }
)
"""The second trial learns nothing and is stopped, the fourth fails, the run ends in the fifth."""

LAGS, FAILS, CUT = "u00001", "u00003", "u00004"


def in_the_middle(killed: bool) -> Callable[[Report], None]:
    def hook(report: Report) -> None:
        if report.uid == FAILS and report.step == 1:
            raise ValueError("bad luck")
        if report.uid == CUT and report.step == 2:
            raise Halt(killed)

    return hook


@dataclass(frozen=True)
class Made:
    """A run that was ended in the middle, and how it ends when nothing is damaged."""

    layout: RunLayout
    machine: Machine
    ends: dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("made")
    machine = here(folder)
    layout = begun(folder / "run", machine, killed=False)
    straight = copied(layout, folder / "straight")
    go_on(straight, examine(straight, machine, Wish()))
    return Made(layout, machine, outcome(straight))


def begun(root: Path, machine: Machine, killed: bool) -> RunLayout:
    start(RunLayout(root), SPACE, machine, [learnt(number) for number in range(3)], in_the_middle(killed))
    return RunLayout(root)


def learnt(number: int) -> TrialRecord:
    """A trial of another run, that the search begins with."""
    config = complete_config(SPACE, {"query_budget": 60 + 20 * number, "lr": 0.01}, f"u{number:05d}", number)
    return TrialRecord(config.uid, 0, TrialStatus.FINISHED, config, 60 + 20 * number, 0.2 + 0.1 * number)


def copied(layout: RunLayout, folder: Path) -> RunLayout:
    shutil.copytree(layout.root, folder)
    return RunLayout(folder)


def outcome(layout: RunLayout) -> dict[str, Any]:
    """All that must be the same, whatever was damaged: trials, delivered students, charges, curves.

    Only the curve of a failed trial may be lost: to make it again would be to try again.
    """
    snapshot = read_run(layout)
    reports = snapshot.reports.filter(pc.field("uid") != FAILS).drop_columns(["attempt", "seconds"])
    records = sorted(snapshot.records(), key=lambda record: record.uid)
    front = [records[row] for row in final_front(records, snapshot.manifest.goal).rows()]
    ledger = read_ledger(layout.ledger)
    accounts = ledger.accounts()
    requests = {uid: {n: key.images for n, key in ledger.charges(uid).items()} for uid in accounts}
    assert audit(snapshot, Evidence(accounts, frozenset(accounts), requests)).mismatches == ()
    assert snapshot.skipped == 0
    for record in front:
        read_safetensors(layout.students(record.uid) / "weights.safetensors")
    return {
        "trials": [
            (one.uid, one.status, one.queries, one.val_accuracy, one.weights_sha256) for one in records
        ],
        "front": [(one.uid, one.test_accuracy) for one in front],
        "reports": sorted(reports.to_pylist(), key=lambda row: (row["uid"], row["step"])),
        "accounts": {uid: (one.charged, one.executed) for uid, one in accounts.items()},
    }


def files_of(layout: RunLayout) -> list[Path]:
    """The files that a resume may need, without most of those that a merge replaced."""
    whole = sorted(path for path in layout.root.rglob("*") if path.is_file())
    told = [path for path in whole if path.relative_to(layout.root).parts[0] not in ("samples", "lock")]
    replaced = [path for path in told if path.match("part-0000000[2-9]*") and len(told) > 60]
    return [path for path in told if path not in replaced[::2]]


def truncated(path: Path, other: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def flipped(path: Path, other: Path, rng: random.Random) -> None:
    whole = bytearray(path.read_bytes())
    whole[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    path.write_bytes(whole)


def deleted(path: Path, other: Path, rng: random.Random) -> None:
    path.unlink()


def swapped(path: Path, other: Path, rng: random.Random) -> None:
    whole = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(whole)


def tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("damage", [truncated, flipped, deleted, swapped])
def test_a_damaged_file_is_made_good_or_the_run_is_refused(
    made: Made, damage: Callable[[Path, Path, random.Random], None], tmp_path: Path
) -> None:
    rng = random.Random(SEED)
    names = [path.relative_to(made.layout.root) for path in files_of(made.layout)]
    seen: set[str] = set()
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        layout = copied(made.layout, tmp_path / "run")
        damage(layout.root / name, layout.root / other, rng)
        run = examined(layout, made.machine, {name, name.parent, other, other.parent, Path("run.json")})
        if run is not None and (kind := kind_of(run)) not in seen:
            seen.add(kind)
            go_on(layout, run)
            assert outcome(layout) == made.ends, (name, run.plan.lines())
            after = examine(layout, made.machine, Wish())
            assert not after.plan.again and not after.plan.goes_on
        shutil.rmtree(layout.root)


def test_a_killed_run_whose_tables_lost_a_part_ends_alike(made: Made, tmp_path: Path) -> None:
    """Nothing was merged: a part that is lost is lost."""
    whole = begun(tmp_path / "killed", made.machine, killed=True)
    seen: set[str] = set()
    refused = 0
    for part in [*sorted(whole.trials.iterdir()), *sorted(whole.reports.iterdir())]:
        layout = copied(whole, tmp_path / "run")
        (layout.root / part.relative_to(whole.root)).unlink()
        run = examined(layout, made.machine, {Path("trials")})
        refused += run is None
        if run is not None and (kind := kind_of(run)) not in seen:
            seen.add(kind)
            go_on(layout, run)
            # That a trial was stopped or failed stands in its row only: without it, the trial goes on.
            ended = {"stopped": LAGS, "failed": FAILS}
            on = {uid for status, uid in ended.items() if status not in run.plan.kept} - set(run.plan.again)
            assert without(outcome(layout), on) == without(made.ends, on), part
        shutil.rmtree(layout.root)
    assert seen
    assert not refused, "each trial has several rows"


def examined(layout: RunLayout, machine: Machine, named: set[Path]) -> Resumable | None:
    """What a resume would do; None where it is refused, by the name of one of these files or folders."""
    before = tree(layout.root)
    try:
        return examine(layout, machine, Wish())
    except RaysysError as error:
        assert error.exit_code in (2, 5), error
        assert any(str(layout.root / one) in str(error) for one in named), error
        return None
    finally:
        assert tree(layout.root) == before, "nothing is written"


def without(ends: dict[str, Any], uids: set[str]) -> dict[str, Any]:
    """How a run ended, but for these trials."""
    return {
        "trials": [trial for trial in ends["trials"] if trial[0] not in uids],
        "front": [point for point in ends["front"] if point[0] not in uids],
        "reports": [row for row in ends["reports"] if row["uid"] not in uids],
        "accounts": {uid: account for uid, account in ends["accounts"].items() if uid not in uids},
    }


def kind_of(run: Resumable) -> str:
    """Runs that are resumed alike end alike: one of them is driven to its end."""
    plan = replace(run.plan, run="", fallbacks=[text.partition("/")[0] for text in run.plan.fallbacks])
    return json.dumps(plan.as_dict())


def test_a_ledger_that_was_cut_between_two_records_is_refused(made: Made, tmp_path: Path) -> None:
    layout = copied(made.layout, tmp_path / "run")
    journal = layout.ledger / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    accounts = read_accounts(layout.ledger)
    for keep in range(len(lines)):
        journal.write_bytes(b"".join(lines[:keep]))
        if read_accounts(layout.ledger).keys() == accounts.keys() and all(
            read_accounts(layout.ledger)[uid].charged == one.charged for uid, one in accounts.items()
        ):
            continue  # what was cut off charged nothing
        with pytest.raises(ResumeError, match=r"its ledger and its trials do not fit together"):
            examine(layout, made.machine, Wish())
    journal.unlink()
    with pytest.raises(ResumeError, match=r"held-out images were asked before any trial, the ledger has 0"):
        examine(layout, made.machine, Wish())


def test_a_run_of_schema_1_is_read_and_goes_on(made: Made, tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).parent / "stored" / "schema-1.tar.xz") as stored:
        # The first releases of Python 3.11 have no filters; later ones want one.
        stored.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        stored.extractall(tmp_path)
    layout = RunLayout(tmp_path / "schema-1")
    assert read_manifest(layout).schema_version == 1
    assert [record.status for record in read_run(layout).records()] == ["finished", "interrupted"]
    run = examine(layout, made.machine, Wish(own_data_root=False))
    assert run.plan.kept == {"finished": 1}
    (on,) = run.plan.goes_on
    assert (on.uid, on.reports, on.queries, on.answered, run.plan.to_start) == ("u00001", 5, 68, 0, 1)
    assert not run.plan.again and not run.plan.fallbacks
    go_on(layout, run)
    ended = outcome(layout)
    assert [trial[1] for trial in ended["trials"]] == [TrialStatus.FINISHED] * 3
    assert read_manifest(layout).schema_version == 2


@pytest.mark.parametrize("first", ["read_run", "read_ledger"])
def test_a_run_that_goes_on_meanwhile_is_not_taken_for_damaged(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """`--dry-run` beside a driver: whichever is read first, the run is further when the other one is."""
    layout, further = copied(made.layout, tmp_path / "run"), copied(made.layout, tmp_path / "further")
    go_on(further, examine(further, made.machine, Wish()))
    read = getattr(resume_check, first)

    def read_and_go_on(*place: Any) -> Any:
        found = read(*place)
        shutil.copytree(further.root, layout.root, dirs_exist_ok=True)
        return found

    monkeypatch.setattr(resume_check, first, read_and_go_on)
    plan = examine(layout, made.machine, Wish()).plan
    assert not plan.again
    assert not plan.fallbacks


def test_a_run_that_has_ended_is_left_as_it_is_without_ray(made: Made, tmp_path: Path) -> None:
    layout, said = copied(made.layout, tmp_path / "run"), list[str]()
    go_on(layout, examine(layout, made.machine, Wish()))
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    ended = resume_run(layout, made.machine, Wish(), said.append)
    assert (ended.state, ended.exit_code, ray.is_initialized()) == ("finished", 0, False)
    assert said[-1] == "nothing is left to do: --extend N adds trials"
    after = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
