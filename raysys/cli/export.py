"""`raysys export`: what a run found, for other tools."""

import shlex
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysys.cli import output
from raysys.cli.front import FrontKind
from raysys.cli.new_file import named, new_place, write
from raysys.errors import UsageError
from raysys.records import TrialStatus

if TYPE_CHECKING:
    from raysys.store.export import Pick
    from raysys.store.reader import Snapshot


class What(StrEnum):
    """What is exported."""

    TRIALS = "trials"
    FRONT = "front"
    REPORTS = "reports"
    LEDGER = "ledger"
    STUDY = "study"


class FileFormat(StrEnum):
    """How tables are written."""

    PARQUET = "parquet"
    CSV = "csv"


def export(
    run: Annotated[str, typer.Argument(help="the run's folder or URI; it may go on meanwhile")],
    path: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="PATH", help="the new file, local or a URI; of a student, a folder"
        ),
    ],
    what: Annotated[
        What | None,
        typer.Option(help="a table; ledger: one row a request; study: for optuna-dashboard, SQLite or .log"),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(metavar="UID", help="the student of a trial, with its config and a model card"),
    ] = None,
    file_format: Annotated[
        FileFormat | None, typer.Option("--format", help="of a table [default: as PATH ends, else parquet]")
    ] = None,
    kind: Annotated[FrontKind | None, typer.Option(help="of a front; final: over finished trials")] = None,
    status: Annotated[
        list[TrialStatus] | None, typer.Option(help="only trials of this status (repeatable)")
    ] = None,
    max_queries: Annotated[
        float | None, typer.Option(min=0, help="only trials, or points, up to so many queries")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, help="... up to so many seconds of work")
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="... of at least this val accuracy (or agreement)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace what is at PATH")] = False,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Write a table of a run, its study, or a student into a file or folder.

    In CSV, text that a spreadsheet would take for a formula gets a ' before it. The study is an SQLite
    database, which takes about 0.1 s a trial, or, if its name ends in .log, an Optuna journal, which takes a
    twentieth of that.
    """
    from raysys.store.export import Pick

    pick = Pick(tuple(one.value for one in status or []), max_queries, max_seconds, min_accuracy)
    _check(path, what, student, file_format, kind, pick)
    if student is not None:
        told = _student(run, student, path, force)
    elif what is What.STUDY:
        told = _study(run, path, force)
    else:
        told = _table(run, str(what), file_format, (kind or FrontKind.FINAL).value, pick, path, force)
    text = told.pop("text")
    if json:
        output.print_json(told)
    else:
        output.result(f"{told['path']}: {text}")


def _check(
    path: str,
    what: What | None,
    student: str | None,
    file_format: FileFormat | None,
    kind: FrontKind | None,
    pick: "Pick",
) -> None:
    """Raises UsageError for options that do not go together."""
    if (what is None) == (student is None):
        raise UsageError(
            "it is not said what to export" if what is None else "--what and --student are two exports",
            hint="give --what trials|front|reports|ledger|study, or --student UID",
        )
    name = "--student" if student else f"--what {what}"
    is_table = student is None and what is not What.STUDY
    ends = _format_of(path)
    if file_format is not None and not is_table:
        raise UsageError(f"--format does not go with {name}", "it is of tables", "leave it out")
    if file_format is not None and ends not in (None, file_format):
        raise UsageError(
            f"{path} ends in .{ends}, but --format says {file_format}", hint="leave out --format"
        )
    if not pick.whole and not is_table:
        raise UsageError(
            f"{name} is exported as a whole", hint="leave out --status, --max-... and --min-accuracy"
        )
    if kind is not None and what is not What.FRONT:
        raise UsageError(f"--kind does not go with {name}", "it is of a front", "leave it out")
    if pick.statuses and what is What.FRONT:
        raise UsageError(
            "--status does not go with --what front",
            "its points are finished trials, or reports of any",
            "--kind says which; leave out --status",
        )


def _format_of(path: str) -> FileFormat | None:
    """What a file's name says of its format."""
    ending = path.rpartition("?")[0] or path
    return next((one for one in FileFormat if ending.endswith(f".{one}")), None)


def _table(
    run: str, what: Any, file_format: FileFormat | None, kind: Any, pick: "Pick", path: str, force: bool
) -> dict[str, Any]:
    from raysys.store.export import encoded, export_table
    from raysys.store.layout import RunLayout
    from raysys.store.reader import read_run
    from raysys.teacher.charges import charges_table

    filesystem, file = new_place(path, force)
    layout = RunLayout.open(run)
    snapshot = read_run(layout)
    table = export_table(snapshot, what, pick, kind, lambda: charges_table(layout.ledger, layout.filesystem))
    chosen = file_format or _format_of(path) or FileFormat.PARQUET
    content = encoded(table, chosen.value)
    write(filesystem, file, content)
    told = {"run": snapshot.path, "what": what, "format": chosen.value, "path": named(path, file)}
    return {**told, "rows": table.num_rows, "text": f"{table.num_rows:,} rows of {what}"}


def _student(run: str, uid: str, path: str, force: bool) -> dict[str, Any]:
    from raysys.cluster.student_export import student_files
    from raysys.store.layout import RunLayout
    from raysys.store.reader import read_run

    filesystem, folder = new_place(path, force, folder=True)
    layout = RunLayout.open(run)
    snapshot = read_run(layout)
    files = student_files(layout, snapshot, uid)
    for name, content in files.items():
        write(filesystem, folder / name, content)
    told = {"run": snapshot.path, "student": uid, "path": named(path, folder), "files": list(files)}
    return {**told, "text": f"the student of {uid}: {', '.join(files)}"}


def _study(run: str, path: str, force: bool) -> dict[str, Any]:
    from raysys.store.reader import read_run

    filesystem, file = new_place(path, force)
    snapshot = read_run(run)
    journal = file.suffix == ".log"
    content, trials = _study_file(snapshot, journal)
    write(filesystem, file, content)
    if "://" not in path:
        url = shlex.quote(str(file) if journal else f"sqlite:///{file}")
        output.note(f"to look at it: pip install optuna-dashboard; optuna-dashboard {url}")
    told = {"run": snapshot.path, "what": "study", "path": named(path, file), "rows": trials}
    return {**told, "text": f"{trials} trials, study {snapshot.name!r}"}


def _study_file(snapshot: "Snapshot", journal: bool) -> tuple[bytes, int]:
    """The file of the run's study, and how many trials are in it."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    from raysys.cluster.plan import FLOOR
    from raysys.search.study_records import least_and_most, study_of
    from raysys.space.load import from_json

    manifest = snapshot.manifest
    space = from_json(manifest.space)
    limits = least_and_most(space, FLOOR * manifest.reference.accuracy)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study"
        storage = (
            JournalStorage(JournalFileBackend(str(file))) if journal else RDBStorage(f"sqlite:///{file}")
        )
        study = study_of(space, snapshot.records(), limits, snapshot.name, storage)
        trials = len(study.get_trials(deepcopy=False))
        if isinstance(storage, RDBStorage):
            storage.remove_session()
            storage.engine.dispose()
        return file.read_bytes(), trials
