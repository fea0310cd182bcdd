"""run.json: what a run is, fixed at its start, and how far it got.

The file has a checksum of itself, and the one before it stays beside it: `run.json.previous` is read where
run.json is damaged or missing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from raysys import __version__
from raysys.errors import CorruptRunError
from raysys.files import read_bytes, write_atomic
from raysys.fronts.goal import Goal
from raysys.fronts.hypervolume import Reference
from raysys.fronts.objectives import ACCURACY, QUERIES, SECONDS, TESTED, Objective
from raysys.records import TeacherCard
from raysys.store.layout import RunLayout

SCHEMA_VERSION = 2
"""Version of the files of a run; a reader refuses newer ones, and reads older ones.

1: run.json without checksum and generation; parts, trials' states and requests without their names in theirs.
"""

_WITHOUT_CHECKSUM = 1
"""The last schema whose run.json has no checksum."""

MOST_BYTES = 4 * 2**20
"""Of a run.json: a thousand times what one has."""

_MISSING = "is missing"

_TOLD = 200
"""Characters of what is wrong, where it repeats what the file says."""

NO_SAMPLER = "none"
"""`sampler` of a run that is one trial of `raysys trial`: nothing was searched."""

NO_SCHEDULER = "none"
"""`scheduler` of a run whose trials all go on to their end."""


class RunState(StrEnum):
    """Life of a run: `running` until the driver writes how it ended.

    finished: all planned trials ended; interrupted: stopped by a signal; capped: a cap (queries, cost,
    time) came first; failed: too many trials failed, or the driver did.
    """

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    CAPPED = "capped"
    FAILED = "failed"

    @property
    def settled(self) -> bool:
        """True where the manifest holds all that was charged; else only the ledger knows."""
        return self in (RunState.FINISHED, RunState.CAPPED)


class _Space(BaseModel):
    """What readers of a manifest use of its space."""

    name: str = Field("", max_length=200)
    price: FiniteFloat = Field(0.0, ge=0)
    limits: dict[str, FiniteFloat] | None = None
    parameters: dict[str, dict[str, Any]] | None = None


class Manifest(BaseModel):
    """The manifest. Only `state`, `charged` and `executed` change after the start; `trials` with `--extend`.

    `space` is the resolved space as JSON data, `space_digest` its hash. `reference` is the hypervolume's.
    `caps` holds the limits of the whole run by name (`queries` in images, `cost` in USD, `time` in
    seconds), absent where there is none. `charged` and `executed` count images of all accounts, the
    account `evaluation` included. `created` is ISO 8601 in UTC.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA_VERSION
    id: str = Field(
        "", description="no other run's, also of the same name: what a teacher's server counts by"
    )
    raysys: str
    created: str
    state: RunState = RunState.RUNNING
    space: dict[str, Any]
    space_digest: str
    preset: str = Field("", description="the space's preset that was asked for with --preset")
    method: str
    response: str
    objectives: tuple[Objective, ...] = (ACCURACY, QUERIES)
    reference: Reference
    seed: int
    sampler: str
    scheduler: str = NO_SCHEDULER
    milestones: tuple[int, ...] = Field(
        (), description="queries at which trials report what they would deliver there, and are judged"
    )
    trials: int = Field(ge=0, description="planned trials")
    seeds: int = Field(1, ge=1, description="trials that a config on the front gets")
    warm_start: tuple[str, ...] = Field((), description="earlier runs that the search began with")
    warm_start_sha256: str = Field("", description="of the file with their trials")
    caps: dict[str, float] = {}
    versions: dict[str, str] = {}
    code: str = Field("", description="sha256 of the sources of raysys that began it")
    teacher: TeacherCard | None = None
    dataset: dict[str, Any] = {}
    charged: int = 0
    executed: int = 0

    @field_validator("space")
    @classmethod
    def _readable(cls, space: dict[str, Any]) -> dict[str, Any]:
        _Space.model_validate(space)
        return space

    @field_validator("created")
    @classmethod
    def _moment(cls, created: str) -> str:
        datetime.fromisoformat(created)
        return created

    @field_validator("objectives")
    @classmethod
    def _goals(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        names = [one.name for one in objectives]
        if QUERIES.name not in names or sum(name in TESTED for name in names) != 1:
            raise ValueError(f"needs queries and one of {', '.join(TESTED)}")
        if unknown := set(names) - {QUERIES.name, SECONDS.name, *TESTED}:
            raise ValueError(f"knows no {', '.join(sorted(unknown))}")
        return objectives

    @property
    def price(self) -> float:
        """USD that one query costs; 0 where the space has no price."""
        return float(self.space.get("price", 0.0))

    @property
    def cost(self) -> float:
        """USD that the teacher's owner may bill: every attempt counts."""
        return self.executed * self.price

    @property
    def goal(self) -> Goal:
        """What the run looks for."""
        return Goal(self.objectives, self.reference, self.space.get("limits") or {})

    @property
    def score(self) -> str:
        """The column that ranks students: `val_accuracy` or `agreement`."""
        return self.goal.score


@dataclass(frozen=True)
class _File:
    """A manifest as it is kept; `generation` counts how often it was written before."""

    manifest: Manifest
    generation: int
    text: bytes


def write_manifest(layout: RunLayout, manifest: Manifest) -> None:
    """Create or replace the manifest, whole or not at all, and keep the one before it. Raises StorageError.

    A good one is never replaced by a copy of a damaged one.
    """
    current, before = (_read(layout, path) for path in (layout.run_json, layout.previous_run_json))
    generation = 1 + max((one.generation for one in (current, before) if isinstance(one, _File)), default=-1)
    if isinstance(current, _File) and current.generation == generation - 1:
        _write(layout, layout.previous_run_json, current.text)
    data = {**manifest.model_dump(mode="json"), "schema_version": SCHEMA_VERSION, "generation": generation}
    text = json.dumps({**data, "checksum": _checksum(data)}, indent=2) + "\n"
    _write(layout, layout.run_json, text.encode())


def read_manifest(layout: RunLayout) -> Manifest:
    """Read the manifest. Raises CorruptRunError when it is missing, damaged or of a newer raysys.

    A storage that cannot be read now raises StorageError: that is no damage.
    """
    return newest_manifest(layout)[0]


def newest_manifest(layout: RunLayout) -> tuple[Manifest, str]:
    """The newest manifest that can be read, and why it is not the one of run.json, where it is not.

    Raises CorruptRunError, StorageError as `read_manifest`.
    """
    current, before = (_read(layout, path) for path in (layout.run_json, layout.previous_run_json))
    if isinstance(before, _File):
        if isinstance(current, str):
            return before.manifest, f"run.json {current}: the one before it is used"
        if before.generation > current.generation:
            return before.manifest, "run.json is older than run.json.previous, which is used"
    if isinstance(current, _File):
        return current.manifest, ""
    if current == before == _MISSING:
        raise CorruptRunError(
            f"{layout.location} is no run", "it has no run.json", "raysys ls STORAGE lists the runs"
        )
    raise CorruptRunError(
        f"cannot read {layout.run_json}",
        f"it {current}" + (f"; the one before it {before}" if before != _MISSING else ""),
        "restore the file from a backup; nothing was changed",
    )


def _read(layout: RunLayout, path: Path) -> _File | str:
    """A manifest, or what is wrong with it.

    Raises CorruptRunError for one of a newer raysys, StorageError.
    """
    text = read_bytes(layout.filesystem, path)
    if text is None:
        return _MISSING
    if len(text) > MOST_BYTES:
        return f"is damaged: {len(text):,} bytes are more than a manifest has"
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()  # half a character cannot be shown
        version, checksum = data["schema_version"], data.pop("checksum", None)
        if checksum is not None and checksum != _checksum(data):
            return "does not match its checksum"
        if version > SCHEMA_VERSION:
            raise CorruptRunError(
                f"{path} is of a newer raysys (schema {version})",
                f"this raysys {__version__} reads schemas up to {SCHEMA_VERSION}",
                "upgrade raysys",
            )
        if checksum is None and version > _WITHOUT_CHECKSUM:
            return "has no checksum"
        return _File(Manifest.model_validate(data), int(data.get("generation", 0)), text)
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"is damaged: {where[:_TOLD]}: {first['msg'][:_TOLD]}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as failure:
        return f"is damaged: {type(failure).__name__}: {str(failure)[:_TOLD]}"


def _checksum(data: Mapping[str, Any]) -> str:
    """Of the values, however they are written."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _write(layout: RunLayout, path: Path, text: bytes) -> None:
    write_atomic(layout.filesystem, path, lambda stream: stream.write(text))
