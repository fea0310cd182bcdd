"""Runs side by side as tables, for the command, the page and the report; several numbers are a text cell."""

import json
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import pyarrow as pa

from raysys.distill.options import METHODS, described
from raysys.fronts.objectives import AGREEMENT, TESTED
from raysys.space.difference import flat, told
from raysys.store.comparison import EVIDENCE, Row, Spread, differing, score_of, without_noise
from raysys.store.manifest import Manifest
from raysys.store.reader import Snapshot
from raysys.store.searches import Search, versus

FRESH = ("fresh_val_accuracy", "fresh_test_accuracy")

_MOST_BUDGETS = 8
"""Of more budgets the number is told, and the ends."""

_NAMING = ("space", "method", "preset", "response", "sampler", "scheduler", "trials", "caps")
"""What tells searches apart in few words, if it differs."""


def shipped(method: str) -> str:
    """The name of a method, and whether it is given real images, as `described` tells it of a shipped one.

    To look at a run, no code of others is loaded.
    """
    return described(method) if method in METHODS else method


def methods_table(
    rows: Sequence[Row],
    manifest: Manifest,
    fresh: bool = False,
    describe: Callable[[str], str] = shipped,
) -> pa.Table:
    """The teacher, then the rows by number: mean ± sample standard deviation over n seeds, in percent.

    `manifest` is of any of the runs compared. A star marks a method that says more than its name of itself.
    """
    score = score_of(rows)
    columns = {"val %": score, "test %": TESTED[score], "agree %": AGREEMENT.name}
    if score == AGREEMENT.name:
        columns = {"agree %": score, "test agree %": TESTED[score]}
    if fresh:
        columns |= dict(zip(("fresh\nval %", "fresh\ntest %"), FRESH, strict=True))
    card = manifest.teacher
    reached = {name: getattr(card, column, None) for name, column in columns.items()}
    table: list[dict[str, Any]] = [
        {
            "method": "teacher",
            **{name: f"{100 * one:.1f}" for name, one in reached.items() if one is not None},
        }
    ]
    for number, row in enumerate(rows, start=1):
        asked = row.spread("queries")
        table.append(
            {
                "row": number,
                "method": _name(row) + ("*" if describe(row.method) != row.method else ""),
                "labels": row.response,
                "budget": row.budget,
                "queries": round(asked.mean) if asked else None,
                "n": len(row.entries),
                **{name: _percent(row.spread(column)) for name, column in columns.items()},
            }
        )
    numbers = [(name, pa.string()) for name in columns]
    counts = [("budget", pa.int64()), ("queries", pa.int64()), ("n", pa.int64())]
    known = [("row", pa.int64()), ("method", pa.string()), ("labels", pa.string())]
    return pa.Table.from_pylist(table, schema=pa.schema([*known, *counts, *numbers]))


def differences(rows: Sequence[Row]) -> list[str]:
    """For each row what tells it from others of its method, labels and budget; empty where nothing does."""
    return [
        ", ".join(f"{key}={'-' if value is None else value}" for key, value in terms.items())
        for terms in differing(rows)
    ]


def methods_notes(rows: Sequence[Row], describe: Callable[[str], str] = shipped) -> list[str]:
    """What the stars mean, and what is no evidence, a line each."""
    marked = {row.method: describe(row.method) for row in rows}
    notes = [f"* {words}" for method, words in marked.items() if words != method]
    if any(len(row.entries) < EVIDENCE for row in rows):
        notes.append(f"rows with fewer than {EVIDENCE} seeds (n) are no evidence")
    return notes


def noise_note(rows: Sequence[Row]) -> str:
    """At which budgets the least that any method must beat is missing; empty where it is there."""
    bare = without_noise(rows)
    if len(bare) > _MOST_BUDGETS:
        budgets = f"{len(bare):,} budgets, {bare[0]:,} to {bare[-1]:,}"
    else:
        budgets = ", ".join(f"{budget:,}" for budget in bare)
    return budgets and (
        f"no row of uniform or structured noise at {budgets} queries: what all must beat is not shown"
    )


def search_names(searches: Sequence[Search]) -> list[str]:
    """A short name for each search: its number, and of what tells them apart that which differs."""
    differ = [name for name in _NAMING if len({json.dumps(one.terms[name]) for one in searches}) > 1]
    names = []
    for number, one in enumerate(searches, start=1):
        words = [_word(name, one.terms[name]) for name in differ] or [str(one.terms["sampler"])]
        names.append(f"{number}: {', '.join(filter(None, words))}")
    return names


def searches_table(searches: Sequence[Search]) -> pa.Table:
    """The searches by name; what each is above the first one, with its 95 % bootstrap interval."""
    rows = [
        _search_row(name, one, searches[0])
        for name, one in zip(search_names(searches), searches, strict=True)
    ]
    columns = rows[-1]  # of several searches only those after the first have all columns
    numbers = ("n", "queries")
    return pa.Table.from_pylist(
        rows, schema=pa.schema([(name, pa.int64() if name in numbers else pa.string()) for name in columns])
    )


def _search_row(name: str, search: Search, first: Search) -> dict[str, Any]:
    volume = search.hypervolume
    row: dict[str, Any] = {
        "search": name,
        "n": len(search.runs),
        "queries": round(fmean(search.spent)),
        "hypervolume": volume and _with_spread(volume, 1, 4),
    }
    if search is not first:
        against = versus(search, first)
        drawn = "pairs" if against.paired else "unpaired"
        ends = against.interval and " to ".join(f"{end:+.4f}" for end in against.interval)
        row |= {
            "above search 1": f"{against.difference:+.4f}",
            "95 % interval": f"{ends}, {drawn}" if ends else f"none: n < {EVIDENCE}",
            "win/tie/loss": f"{against.wins}/{against.ties}/{against.losses}",
        }
    return {**row, "seeds": ", ".join(map(str, search.seeds)), "runs": ", ".join(run_names(search.runs))}


def attainment_table(searches: Sequence[Search], at: Sequence[int]) -> pa.Table:
    """What all runs of each search attain within the budgets `at`, at least half of them, the best, in %."""
    columns: dict[str, pa.Array] = {"budget": pa.array(at, pa.int64())}
    for number, one in enumerate(searches, start=1):
        for name, reached in one.attained(at).items():
            shown = ["-" if value is None else f"{100 * value:.1f}" for value in reached]
            columns[f"{number}: {name}"] = pa.array(shown, pa.string())
    return pa.table(columns)


def settings_table(runs: Sequence[Snapshot]) -> pa.Table:
    """What differs between the runs' settings, one key a row, one column a run; not where they lie."""
    told_of = [_settings(run.manifest) for run in runs]
    keys = dict.fromkeys(key for one in told_of for key in one)  # in the order of the first
    changed = [key for key in keys if len({one.get(key) for one in told_of}) > 1]
    columns = {"setting": pa.array(changed, pa.string())}
    for name, one in zip(run_names([run.path for run in runs]), told_of, strict=True):
        columns[name] = pa.array([one.get(key, "-") for key in changed], pa.string())
    return pa.table(columns)


def run_names(paths: Sequence[str]) -> list[str]:
    """The names of the runs at these paths or URIs, or the paths where two have the same name."""
    names = [path.partition("?")[0].rstrip("/").rpartition("/")[2] for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def _settings(manifest: Manifest) -> dict[str, str]:
    card = manifest.teacher
    values = {
        "seed": manifest.seed,
        "sampler": manifest.sampler,
        "scheduler": manifest.scheduler,
        "milestones": list(manifest.milestones),
        "trials": manifest.trials,
        "seeds of a point": manifest.seeds,
        "preset": manifest.preset,
        "warm start": list(manifest.warm_start),
        **{f"cap on {name}": cap for name, cap in manifest.caps.items()},
        "method": manifest.method,
        "response": manifest.response,
        "teacher": card and f"{card.id} {card.sha256}",
        "data set": f"{manifest.dataset.get('name')} {manifest.dataset.get('sha256')}",
        "raysys": manifest.raysys,
        "code": manifest.code,
        **{f"version of {name}": version for name, version in manifest.versions.items()},
        **{f"space: {key}": value for key, value in flat(manifest.space).items()},
    }
    return {key: told(value) for key, value in values.items()}


def _name(row: Row) -> str:
    """Method and preset."""
    name = f"{row.method}/{row.preset}" if row.preset and row.method not in row.preset else row.preset
    return name or row.method


def _percent(over: Spread | None) -> str:
    if over is None:
        return "-"
    return _with_spread(over, 100, 1, 0 if over.std is not None and over.std >= 0.1 else 1)


def _with_spread(over: Spread, factor: float, digits: int, of_std: int | None = None) -> str:
    std = "-" if over.std is None else f"{factor * over.std:.{digits if of_std is None else of_std}f}"
    return f"{factor * over.mean:.{digits}f} ± {std}"


def _word(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {limit:g}" for key, limit in value.items()) or f"no {name}"
    return f"{value} {name}" if name == "trials" else str(value)
