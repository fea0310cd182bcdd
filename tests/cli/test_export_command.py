from pathlib import Path

import optuna
import pytest
from edge_runs import write_run
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from search_runs import SPACE, ended

from raysys.cli.app import main
from raysys.records import TrialStatus
from raysys.space.load import to_json
from raysys.store.manifest import RunState


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that goes on: one trial no better than chance, one good, one stopped, one not yet ended."""
    records = [
        ended(0, TrialStatus.FINISHED, val_accuracy=0.12, queries=50),
        ended(1, TrialStatus.FINISHED),
        ended(2, TrialStatus.STOPPED),
        ended(3, TrialStatus.RUNNING),
    ]
    write_run(tmp_path / "first Prüfung", records, space=to_json(SPACE), state=RunState.RUNNING)
    return tmp_path / "first Prüfung"


@pytest.mark.parametrize("name", ["study.db", "study.log"])
def test_optuna_loads_the_study_of_a_run(
    name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new folder" / name
    assert main(["export", str(run), "--what", "study", "-o", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: 3 trials, study 'first Prüfung'\n"
    assert [path.name for path in file.parent.iterdir()] == [name]

    database = name.endswith(".db")
    storage = RDBStorage(f"sqlite:///{file}") if database else JournalStorage(JournalFileBackend(str(file)))
    study = optuna.load_study(study_name="first Prüfung", storage=storage)
    assert [trial.state for trial in study.trials] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.PRUNED,
    ]
    assert study.metric_names == ["val_accuracy", "queries"]
    (best,) = study.best_trials  # 1.5 times chance is the least that counts
    assert best.user_attrs == {"uid": "u00001", "seed": 1, "queries": 500}
    assert best.values == [0.8, 500.0]
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def test_nothing_is_replaced(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "study.db"
    file.write_text("mine")
    assert main(["export", str(run), "--what", "study", "-o", str(file)]) == 2
    assert f"{file} exists" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_what_cannot_be_exported_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "study.db"
    assert main(["export", str(tmp_path / "nothing"), "--what", "study", "-o", str(file)]) == 2
    assert "is no run" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--what", "weather", "-o", str(file)]) == 2
    assert "study" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
