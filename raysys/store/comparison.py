"""Trials of several runs side by side: the same config with other seeds is one row, with mean and spread."""

import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from raysys.errors import UsageError
from raysys.fronts.objectives import ACCURACY, AGREEMENT
from raysys.records import Scalar, TrialRecord
from raysys.store.manifest import Manifest
from raysys.store.points import finished_trials, floats
from raysys.store.reader import Snapshot
from raysys.store.schema import RECIPE, TRIALS, trial_record

EVIDENCE = 3
"""Seeds below which a row is no evidence."""


@dataclass(frozen=True)
class Spread:
    """Mean, and sample standard deviation (n - 1), which one value does not have."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class Entry:
    """A finished trial of the run at that path or URI.

    `fresh_...` are of a student that was trained afresh on what it asked.
    """

    run: str
    preset: str
    terms: Mapping[str, Scalar]
    record: TrialRecord
    fresh_val_accuracy: float | None = None
    fresh_test_accuracy: float | None = None

    @property
    def name(self) -> str:
        """RUN:UID, as `raysys trial --from` takes it."""
        return f"{self.run}:{self.record.uid}"

    def value(self, column: str) -> float | None:
        """A number of the trial, None where it has none."""
        found = getattr(self if column.startswith("fresh_") else self.record, column)
        return float(found) if found is not None and math.isfinite(found) else None


class _Place(NamedTuple):
    """Where a result stands: the number of its run, and its row among that one's results."""

    run: int
    row: int
    score: float
    tested: bool


_Group = dict[int, _Place]
"""Results of one recipe, by seed."""


@dataclass(frozen=True)
class Row:
    """Trials that differ by their seed only, by rising seed; `terms` is all that decided them besides.

    `preset` is empty where they were not all asked for by the same one.
    """

    method: str
    response: str
    preset: str
    terms: Mapping[str, Scalar]
    entries: tuple[Entry, ...]

    @property
    def budget(self) -> int:
        """The most images that each trial might ask; 0 where its config does not say."""
        return int(self.terms.get("query_budget", 0))

    def spread(self, column: str) -> Spread | None:
        """Mean and spread of a number over the seeds; None unless each of them has it."""
        return spread([entry.value(column) for entry in self.entries])


def spread(values: Sequence[float | None]) -> Spread | None:
    """Mean and sample standard deviation; None of nothing, and where a value is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return Spread(fmean(known), stdev(known) if len(known) > 1 else None)


def comparable(runs: Iterable[Snapshot]) -> tuple[list[Snapshot], list[UsageError]]:
    """The runs that can be compared with the first one that has a result, and why each other cannot.

    Only runs of one teacher, data set and split of its held-out images can be. A run counts once, whatever
    it is called.
    """
    once = {_identity(run): run for run in reversed(list(runs))}  # the first of a name stays
    with_results, refused = [], []
    for run in reversed(once.values()):
        if _results(run).num_rows:
            with_results.append(run)
        else:
            refused.append(
                UsageError(f"{run.path} has no finished trial", hint="leave it out, or let it end")
            )
    kept, different = alike(with_results, _problem, "runs")
    return kept, refused + different


def alike(
    runs: Sequence[Snapshot], told: Callable[[Manifest], Mapping[str, str]], what: str
) -> tuple[list[Snapshot], list[UsageError]]:
    """The runs of which the same is `told` as of the first one, and why each other does not compare.

    `what` is what would be compared: "runs", "fronts".
    """
    kept, refused = [], []
    for run in runs:
        first, own = told(runs[0].manifest), told(run.manifest)
        names = [name for name in first if own[name] != first[name]]
        if names:
            refused.append(
                UsageError(
                    f"{what} with different {names[0]} cannot be compared",
                    f"{runs[0].path} has {first[names[0]]}, {run.path} has {own[names[0]]}",
                    "compare runs of one kind at a time",
                )
            )
        else:
            kept.append(run)
    return kept, refused


def rows_of(runs: Sequence[Snapshot]) -> list[Row]:
    """All finished trials as rows, by rising budget, then falling accuracy (agreement without labels).

    Of trials that have the seed, too, in common one counts, first of all one that was tested.
    """
    return _rows(runs, list(_groups(runs).values()))


def best_rows(runs: Sequence[Snapshot], most: int) -> tuple[list[Row], int]:
    """At most so many of these rows, and how many there are: those with the most seeds, then the best."""
    groups = list(_groups(runs).values())

    def rank(group: _Group) -> tuple[int, float]:
        reached = fmean(place.score for place in group.values())
        return -len(group), -reached if math.isfinite(reached) else math.inf

    return _rows(runs, sorted(groups, key=rank)[:most]), len(groups)


def score_of(rows: Iterable[Row]) -> str:
    """What ranks the rows: `val_accuracy`, or `agreement` where there are no labels."""
    return ACCURACY.name if any(row.spread(ACCURACY.name) for row in rows) else AGREEMENT.name


def differing(rows: Sequence[Row]) -> list[dict[str, Scalar | None]]:
    """For each row, those of its terms that differ among the rows of the same method, response and budget."""
    kin: defaultdict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        kin[_kind(row)].append(row)
    differ = {}
    for kind, like in kin.items():
        names = sorted({name for one in like for name in one.terms})
        differ[kind] = [name for name in names if len({json.dumps(one.terms.get(name)) for one in like}) > 1]
    return [{name: row.terms.get(name) for name in differ[_kind(row)]} for row in rows]


def without_noise(rows: Sequence[Row]) -> list[int]:
    """The budgets at which no row is noise, uniform or structured: the least that any method must beat."""
    noise = [row for row in rows if row.method == "noise" and row.terms.get("kind") != "scribbles"]
    return sorted({row.budget for row in rows} - {row.budget for row in noise})


def row_json(row: Row, columns: Iterable[str]) -> dict[str, Any]:
    """A row as JSON data: each column as mean, std and the values in the order of the seeds."""
    numbers = {}
    for column in columns:
        over = row.spread(column)
        numbers[column] = {
            "mean": over and over.mean,
            "std": over and over.std,
            "values": [entry.value(column) for entry in row.entries],
        }
    return {
        "method": row.method,
        "preset": row.preset,
        "response": row.response,
        "student": row.terms["student"],
        "query_budget": row.budget,
        **numbers,
        "seeds": [entry.record.config.seed for entry in row.entries],
        "trials": [entry.name for entry in row.entries],
        "options": {name: value for name, value in row.terms.items() if name != "student"},
    }


def _results(run: Snapshot) -> pa.Table:
    """Trials that ended by themselves; a student that asked nothing is no result."""
    finished = finished_trials(run)
    return finished.filter(pc.greater(finished["queries"], 0))


def _groups(runs: Sequence[Snapshot]) -> dict[Hashable, _Group]:
    """The results of each recipe by seed. A recipe is told by the table's own text: nothing is parsed."""
    groups: defaultdict[Hashable, _Group] = defaultdict(dict)
    for number, run in enumerate(runs):
        hidden, results = tuple(hidden_by_teacher(run).items()), _results(run)
        columns = (*RECIPE, "seed", "test_agreement")
        told = zip(*(results[name].to_pylist() for name in columns), strict=True)
        scores = floats(results, run.manifest.score).tolist()
        for row, ((*recipe, seed, tested), score) in enumerate(zip(told, scores, strict=True)):
            group = groups[(*recipe, *hidden)]
            if seed not in group or (tested is not None and not group[seed].tested):
                group[seed] = _Place(number, row, score, tested is not None)
    return groups


def _rows(runs: Sequence[Snapshot], groups: Sequence[_Group]) -> list[Row]:
    entries: dict[_Place, Entry] = {}
    for number, run in enumerate(runs):
        places = [place for group in groups for place in group.values() if place.run == number]
        taken = pa.array([place.row for place in places], pa.int64())
        records = _results(run).select(TRIALS.names).take(taken).to_pylist()
        hidden = hidden_by_teacher(run)
        for place, record in zip(places, map(trial_record, records), strict=True):
            terms = {**record.config.options, **hidden, "student": record.config.student}
            entries[place] = Entry(run.path, run.manifest.preset, terms, record)
    rows = [_row([entries[group[seed]] for seed in sorted(group)]) for group in groups]
    by = score_of(rows)

    def rank(row: Row) -> tuple[int, float]:
        reached = row.spread(by)
        return row.budget, -reached.mean if reached else math.inf

    return sorted(rows, key=rank)


def _identity(run: Snapshot) -> str:
    return run.manifest.id or (run.path if "://" in run.path else os.path.realpath(run.path))


def _problem(manifest: Manifest) -> dict[str, str]:
    """What must be the same in runs that are compared."""
    card, dataset = manifest.teacher, manifest.dataset
    held_out = manifest.space.get("held_out")
    return {
        "teachers": f"{card.architecture} of sha256 {card.sha256[:12]}" if card else "none",
        "data sets": f"{dataset.get('name')} {str(dataset.get('sha256'))[:12]}",
        "test splits": "all held-out images" if held_out is None else f"{held_out} held-out images",
    }


def hidden_by_teacher(snapshot: Snapshot) -> dict[str, Scalar]:
    """What a run's teacher hides of its answers: it decides a trial, too, and is the same within a run."""
    teacher = snapshot.manifest.space.get("teacher", {})
    return {f"teacher.{key}": teacher[key] for key in ("top_k", "decimals") if teacher.get(key) is not None}


def _kind(row: Row) -> tuple[str, str, int]:
    return row.method, row.response, row.budget


def _row(entries: Sequence[Entry]) -> Row:
    config, presets = entries[0].record.config, {entry.preset for entry in entries}
    preset = presets.pop() if len(presets) == 1 else ""
    return Row(config.method, config.response, preset, entries[0].terms, tuple(entries))
