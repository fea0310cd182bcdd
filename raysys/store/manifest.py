"""run.json: what a run is, fixed at its start, and how far it got."""

import json
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raysys import __version__
from raysys.errors import CorruptRunError
from raysys.files import write_atomic
from raysys.fronts.goal import Goal
from raysys.fronts.hypervolume import Reference
from raysys.fronts.objectives import ACCURACY, QUERIES, Objective
from raysys.records import TeacherCard
from raysys.store.layout import RunLayout

SCHEMA_VERSION = 1
"""Version of the files of a run; a reader refuses newer ones."""

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
    caps: dict[str, float] = {}
    versions: dict[str, str] = {}
    teacher: TeacherCard | None = None
    dataset: dict[str, Any] = {}
    charged: int = 0
    executed: int = 0

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


def write_manifest(layout: RunLayout, manifest: Manifest) -> None:
    """Create or replace the manifest, whole or not at all. Raises StorageError."""
    text = manifest.model_dump_json(indent=2) + "\n"
    write_atomic(layout.filesystem, layout.run_json, lambda stream: stream.write(text.encode()))


def read_manifest(layout: RunLayout) -> Manifest:
    """Read the manifest. Raises CorruptRunError when it is missing, unreadable or of a newer raysys."""
    path = layout.run_json
    try:
        with layout.filesystem.open_input_stream(str(path)) as stream:
            data = json.loads(stream.readall())
        version = data["schema_version"]
        if version > SCHEMA_VERSION:
            raise CorruptRunError(
                f"{path} is of a newer raysys (schema {version})",
                f"this raysys {__version__} reads schemas up to {SCHEMA_VERSION}",
                "upgrade raysys",
            )
        return Manifest.model_validate(data)
    except FileNotFoundError:
        raise CorruptRunError(
            f"{layout.location} is no run", "it has no run.json", "raysys ls STORAGE lists the runs"
        ) from None
    except ValidationError as failure:
        first = failure.errors()[0]
        why = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    except (OSError, ValueError, TypeError, KeyError) as failure:
        why = f"{type(failure).__name__}: {failure}"
    raise CorruptRunError(f"cannot read {path}", why, "restore the file from a backup; nothing was changed")
