"""`raysys compare`: methods side by side, over seeds."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median_high
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysys.cli import common, output
from raysys.errors import UsageError

if TYPE_CHECKING:
    from raysys.distill.options import StudentOptions
    from raysys.store.comparison import Row
    from raysys.store.manifest import Manifest
    from raysys.store.reader import Snapshot

NUMBERS = (
    "queries",
    "val_accuracy",
    "test_accuracy",
    "agreement",
    "test_agreement",
    "fresh_val_accuracy",
    "fresh_test_accuracy",
)


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="the runs' folders or URIs")],
    fresh: Annotated[
        bool, typer.Option("--fresh", help="train a fresh student on what each trial asked, by one recipe")
    ] = False,
    first: Annotated[
        int | None, typer.Option(min=1, metavar="Q", help="with --fresh: on the first Q images of each trial")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", metavar="KEY=VALUE", help="with --fresh: change the recipe"),
    ] = None,
    config: Annotated[
        list[Path] | None, typer.Option("-c", "--config", help="with --fresh: a YAML file of such keys")
    ] = None,
    data_root: common.DataRoot = None,
    fronts: Annotated[
        bool, typer.Option("--fronts", help="compare searches: their hypervolumes, and what they attained")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compare the finished trials of runs with one teacher: mean and spread over the seeds of a config.

    With --fresh also of students that learn only from what the trials asked, all by the same recipe; no query
    is made. Its parts are options of a student: --fresh -s final_passes=100 -s lr=0.1.

    With --fronts the final fronts instead: runs that differ by their seed only are repetitions of one search.
    """
    from raysys.figures.compare_tables import noise_note
    from raysys.store.comparison import comparable, row_json, rows_of
    from raysys.store.reader import read_run

    if fronts and fresh:
        raise UsageError("--fronts compares searches, --fresh students", hint="give one of them")

    if (settings or config or first) and not fresh:
        raise UsageError("-s, -c and --first are about fresh students", hint="add --fresh")
    recipe = _recipe(settings or [], config or []) if fresh else None
    found = _all(comparable(read_run(run) for run in runs))
    if fronts:
        return _fronts(found, json)
    manifest = found[0].manifest
    rows = rows_of(found)
    if recipe is not None:
        rows = _with_fresh(rows, manifest, recipe, data_root, first)
    if told_of_noise := noise_note(rows):
        output.note(told_of_noise)
    if json:
        told: dict[str, Any] = {"runs": [snapshot.path for snapshot in found], "dataset": manifest.dataset}
        card = manifest.teacher.as_dict() if manifest.teacher else None
        told |= {"teacher": card, "fresh": None if recipe is None else _parts(recipe)}
        told["first"] = first
        return output.print_json({**told, "rows": [row_json(row, NUMBERS) for row in rows]})
    return _show(rows, manifest, recipe is not None)


def _all(found: "tuple[list[Snapshot], list[UsageError]]") -> "list[Snapshot]":
    """All runs, or the first reason why one cannot be compared is raised."""
    kept, refused = found
    if refused:
        raise refused[0]
    return kept


def _fronts(found: "list[Snapshot]", json: bool) -> None:
    """Two tables: the searches, by number, and the score that their runs attain within each budget."""
    from raysys.store.comparison import EVIDENCE
    from raysys.store.searches import budgets, common_level, search_json, searches, with_like_fronts

    compared = searches(_all(with_like_fronts(found)))
    at, level = budgets(compared), common_level(compared)
    score = found[0].manifest.score
    if json:
        told: dict[str, Any] = {
            "runs": [snapshot.path for snapshot in found],
            "score": score,
            "budgets": at,
        }
        told |= {"level": level, "searches": [search_json(one, at, level) for one in compared]}
        return output.print_json(told)
    rows = []
    for number, one in enumerate(compared, start=1):
        over, terms = one.hypervolume, one.terms
        volume = f"{over.mean:.4f} ± {'-' if over.std is None else f'{over.std:.4f}'}" if over else ""
        reached_after = [math.inf if queries is None else queries for queries in one.queries_to_reach(level)]
        after = median_high(reached_after)
        what = [terms[name] for name in ("space", "method", "sampler", "scheduler", "trials")]
        spent = [f"{fmean(one.spent):,.0f}", "-" if math.isinf(after) else f"{after:,.0f}"]
        rows.append([number, *what, len(one.runs), *spent, volume])
    columns = ("space", "method", "sampler", "scheduler", "trials", "n", "queries", f"to {level:.4f}")
    output.table(("", *columns, "hypervolume"), rows)
    output.result(f"to {level:.4f}: the median of the queries after which a run had that hypervolume")
    cells: list[list[Any]] = [[f"{budget:,}"] for budget in at]
    for one in compared:
        for reached in one.attained(at).values():
            for row, value in zip(cells, reached, strict=True):
                row.append("-" if value is None else f"{100 * value:.1f}")
    by = [
        f"{number}: {name}" for number in range(1, len(compared) + 1) for name in ("worst", "median", "best")
    ]
    output.table(("budget", *by), cells)
    output.result(
        f"{score} in % that all runs of a search attain within a budget, at least half of them, the best"
    )
    if any(len(one.runs) < EVIDENCE for one in compared):
        output.result(f"searches with fewer than {EVIDENCE} runs (n) are no evidence")
    return None


def _recipe(settings: Sequence[str], files: Sequence[Path]) -> "StudentOptions":
    from raysys.distill.options import parse_recipe
    from raysys.space.load import parse_settings, read_overrides

    layers = [*map(read_overrides, files), parse_settings(settings)]
    return parse_recipe({key: value for layer in layers for key, value in layer.items()})


def _parts(recipe: "StudentOptions") -> dict[str, Any]:
    """What acts on a fresh student."""
    from raysys.distill.options import RECIPE

    return {name: getattr(recipe, name) for name in RECIPE}


def _with_fresh(
    rows: "list[Row]",
    manifest: "Manifest",
    recipe: "StudentOptions",
    data_root: Path | None,
    first: int | None,
) -> "list[Row]":
    from raysys.cluster.fresh import train_fresh

    told = ", ".join(f"{key}={value}" for key, value in _parts(recipe).items())
    learnt = "all pairs" if first is None else f"the first {first:,} pairs"
    output.note(f"fresh students, on {learnt}: {told}")
    return train_fresh(rows, manifest, recipe, data_root, output.note, first)


def _show(rows: "list[Row]", manifest: "Manifest", fresh: bool) -> None:
    """The table, the teacher first; below it what tells rows of one method apart, and what is no evidence."""
    from raysys.distill.options import described
    from raysys.figures.compare_tables import differences, methods_notes, methods_table

    table = methods_table(rows, manifest, fresh, described)
    cells = [
        [f"{cell:,}" if isinstance(cell, int) else cell for cell in row.values()] for row in table.to_pylist()
    ]
    output.table(("", *table.column_names[1:]), cells)
    lines = [f"{number}: {told}" for number, told in enumerate(differences(rows), start=1) if told]
    if lines:
        output.result("rows of one method and budget differ in", *lines)
    output.result(*methods_notes(rows, described))
