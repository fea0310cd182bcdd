"""Each file of a run, damaged in each way, one at a time: the run goes on as if nothing was, or refuses."""

import hashlib
import json
import random
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from driven_runs import Halt, go_on, here, start

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

FAILS, CUT = "u00003", "u00004"


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


@pytest.fixture(scope="module", params=["interrupted", "killed"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("made")
    machine, layout = here(folder), RunLayout(folder / "run")
    earlier = [learnt(number) for number in range(3)]
    start(layout, SPACE, machine, earlier, in_the_middle(request.param == "killed"))
    straight = copied(layout, folder / "straight")
    go_on(straight, examine(straight, machine, Wish()))
    yield Made(layout, machine, outcome(straight))


def learnt(number: int) -> TrialRecord:
    """A trial of another run, that the search begins with."""
    config = complete_config(SPACE, {"query_budget": 60 + 20 * number, "lr": 0.01}, f"u{number:05d}", number)
    return TrialRecord(config.uid, 0, TrialStatus.FINISHED, config, 60 + 20 * number, 0.2 + 0.1 * number)


def copied(layout: RunLayout, folder: Path) -> RunLayout:
    shutil.copytree(layout.root, folder)
    return RunLayout(folder)


def outcome(layout: RunLayout) -> dict[str, Any]:
    """All that must be the same, whatever was damaged: trials, delivered students, charges."""
    snapshot = read_run(layout)
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
        "reports": snapshot.reports.drop_columns(["attempt", "seconds"]).to_pylist(),
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
    told = []
    for number, name in enumerate(names):
        layout = copied(made.layout, tmp_path / str(number))
        other = names[(number + 1) % len(names)]
        damage(layout.root / name, layout.root / other, rng)
        before = tree(layout.root)
        try:
            run = examine(layout, made.machine, Wish())
        except RaysysError as error:
            told.append(f"{name}: {error}")
            assert error.exit_code in (2, 5), name
            named = [str(layout.root / one) for one in (name, name.parent, other, other.parent, "run.json")]
            assert any(one in str(error) for one in named), str(error)
            assert tree(layout.root) == before, "nothing is written"
            shutil.rmtree(layout.root)
            continue
        assert tree(layout.root) == before, "nothing is written"
        told.append(f"{name}: {run.plan.lines()[0]} {run.plan.again} {run.plan.fallbacks}")
        if (kind := kind_of(run, name)) not in seen:
            seen.add(kind)
            go_on(layout, run)
            assert outcome(layout) == made.ends, (name, run.plan.lines())
            after = examine(layout, made.machine, Wish())
            assert not after.plan.again and not after.plan.goes_on
        shutil.rmtree(layout.root)
    (tmp_path / "told.txt").write_text("\n".join(told))


def kind_of(run: Resumable, name: Path) -> str:
    """Runs that are resumed alike end alike: one of them is driven to its end."""
    plan = replace(run.plan, run="", fallbacks=bool(run.plan.fallbacks))  # type: ignore[arg-type]
    return f"{name.parts[0]} {json.dumps(plan.as_dict())}"


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
        stored.extractall(tmp_path, filter="data")
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
