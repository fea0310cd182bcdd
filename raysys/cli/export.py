"""`raysys export`: what a run found, for other tools."""

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raysys.cli import output
from raysys.errors import UsageError

if TYPE_CHECKING:
    from raysys.store.reader import Snapshot


class What(StrEnum):
    """What is exported."""

    STUDY = "study"


def export(
    run: Annotated[str, typer.Argument(help="the run's folder or URI; it may go on meanwhile")],
    what: Annotated[What, typer.Option(help="study: the trials that have ended, as an Optuna study")],
    path: Annotated[str, typer.Option("-o", "--output", metavar="PATH", help="the new file")],
) -> None:
    """Write a run's study into a file that optuna-dashboard opens.

    It is an SQLite database, which takes about 0.1 s a trial, or, if its name ends in .log, an Optuna
    journal, which takes a twentieth of that.
    """
    from pyarrow.fs import FileType

    from raysys.files import write_atomic
    from raysys.store.layout import open_storage
    from raysys.store.reader import read_run

    filesystem, file = open_storage(path)
    if filesystem.get_file_info(str(file)).type is not FileType.NotFound:
        raise UsageError(f"{file} exists", "an export replaces nothing", "give another -o, or remove it")
    snapshot = read_run(run)
    journal = file.suffix == ".log"
    content, trials = _study(snapshot, journal)
    write_atomic(filesystem, file, lambda stream: stream.write(content))
    output.result(f"{file}: {trials} trials, study {snapshot.name!r}")
    url = str(file) if journal else f"sqlite:///{file}"
    output.note(f"to look at it: pip install optuna-dashboard; optuna-dashboard {url}")


def _study(snapshot: "Snapshot", journal: bool) -> tuple[bytes, int]:
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
