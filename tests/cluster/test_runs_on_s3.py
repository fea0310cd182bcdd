"""Runs on s3://, against a real S3 server: made, killed, resumed and read like runs in a folder."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from dashboard_app import metrics
from s3_server import S3
from shell_runs import DIGITS, PATIENCE_S, Shell
from streamlit.testing.v1 import AppTest

import dashboard
from raysys.cli.app import main
from raysys.models.weights import read_safetensors
from raysys.records import TrialRecord
from raysys.store.layout import RunLayout
from raysys.store.points import member_uids, run_front
from raysys.store.reader import read_run
from raysys.teacher.journal import read_accounts

SPACE: dict[str, Any] = {
    "name": "tiny",
    **DIGITS,
    "method": "noise",
    "options": {"rounds": 4, "passes": 1, "final_passes": 20},
    "held_out": 200,
    "parameters": {
        "query_budget": {"type": "int", "low": 100, "high": 190},
        "lr": {"type": "float", "low": 1.0e-4, "high": 0.1, "log": True},
    },
    "trials": 3,
}
ONE_AT_A_TIME = ["--concurrent", "1", "--progress", "none"]
STORAGE = "s3://storage/some/where"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, s3: S3) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("s3"), s3.environment)
    (shell.folder / "tiny.yaml").write_text(json.dumps(SPACE))
    return shell


@pytest.fixture(scope="module")
def killed(shell: Shell, s3: S3) -> RunLayout:
    """A run whose driver was killed in its second trial, and that was resumed to its end."""
    layout = RunLayout.open(s3.uri("some/where/run"))
    process = shell.start(*begin(STORAGE))
    wait_for_trial(process, layout, "u00001")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    told = json.loads(shell.run("tune", "--resume", f"{STORAGE}/run", *ONE_AT_A_TIME, "--json")[0])
    assert told["run"] == f"{STORAGE}/run"
    assert told["trials"]["finished"] == 3
    return layout


def begin(storage: str) -> list[str]:
    return ["tune", "--space", "tiny.yaml", "--name", "run", "--storage", storage, *ONE_AT_A_TIME]


def wait_for_trial(process: subprocess.Popen[str], layout: RunLayout, uid: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (
        uid not in (accounts := read_accounts(layout.ledger, layout.filesystem)) or not accounts[uid].charged
    ):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the trial asked nothing"
        time.sleep(0.1)


def trials(layout: RunLayout) -> list[TrialRecord]:
    return sorted(read_run(layout).records(), key=lambda record: record.uid)


def result(record: TrialRecord) -> tuple[Any, ...]:
    reached = (record.val_accuracy, record.agreement, record.test_accuracy, record.weights_sha256)
    return record.config, record.status, record.queries, reached


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_on_s3_ends_like_an_undisturbed_one_in_a_folder(shell: Shell, killed: RunLayout) -> None:
    shell.run(*begin("runs"))
    calm = RunLayout(shell.run_path("run"))
    assert list(map(result, trials(killed))) == list(map(result, trials(calm)))
    charged = [
        {uid: account.charged for uid, account in read_accounts(one.ledger, one.filesystem).items()}
        for one in (killed, calm)
    ]
    assert charged[0] == charged[1]
    fronts = [member_uids(read_run(one), run_front(read_run(one))) for one in (killed, calm)]
    assert fronts[0] == fronts[1] != []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_reads_a_run_reads_it_on_s3(
    killed: RunLayout, s3: S3, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str) -> Any:
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    run = killed.location
    audit = told("audit", run)
    assert audit["mismatches"] == []
    assert audit["charged"] == sum(trial["charged"] for trial in audit["trials"]) + 200
    [listed] = told("ls", s3.uri("some/where"))["runs"]
    assert listed["run"] == run and listed["name"] == "run" and listed["state"] == "finished"
    assert told("show", listed["run"])["trials"]["finished"] == 3
    assert told("compare", run)
    student = killed.students(told("front", run)["points"][0]["uid"])
    assert read_safetensors(student / "weights.safetensors", killed.filesystem)
    with killed.filesystem.open_input_stream(str(killed.log)) as log:
        assert log.read().strip()
    assert main(["export", run, "--what", "study", "-o", str(tmp_path / "study.log")]) == 0
    assert (tmp_path / "study.log").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_dashboard_shows_a_run_on_s3(killed: RunLayout, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    app = str(Path(dashboard.__path__[0], "app.py"))
    monkeypatch.setattr(sys, "argv", [app, s3.uri("some/where")])
    page = AppTest.from_file(app, default_timeout=60).run()
    assert not page.exception
    told = metrics(page)
    assert told["Failed trials"] == "0 of 3 (0%)"
    assert told["Queries charged"] == f"{read_run(killed).charged:,}"


def test_a_bucket_that_is_not_there_is_refused(s3: S3, capsys: pytest.CaptureFixture[str]) -> None:
    missing = s3.uri("some/where", bucket="nobodys")
    for command in (["ls", missing], ["show", missing], ["tune", "--space", "digits", "--storage", missing]):
        assert main(command) == 2
        assert "there is no bucket nobodys" in capsys.readouterr().err
    assert main(["tune", "--resume", missing]) == 2


def test_an_endpoint_where_nobody_listens_is_refused(capsys: pytest.CaptureFixture[str], s3: S3) -> None:
    assert main(["ls", S3("127.0.0.1:1").uri("some/where")]) == 6
    err = capsys.readouterr().err
    assert "nobody answers at the endpoint of s3://storage/some/where" in err
    assert "Traceback" not in err


def test_wrong_credentials_are_refused(s3: S3, capsys: pytest.CaptureFixture[str]) -> None:
    with s3.checking_credentials():
        assert main(["ls", s3.uri("some/where")]) == 2
    err = capsys.readouterr().err
    assert "no access to s3://" in err and "AWS_ACCESS_KEY_ID" in err


def test_a_secret_in_a_uri_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "s3://key:hidden@storage/some/where"]) == 2
    err = capsys.readouterr().err
    assert "credentials come from the environment" in err and "hidden" not in err


def test_a_name_that_is_taken_is_refused(s3: S3, capsys: pytest.CaptureFixture[str]) -> None:
    layout = RunLayout.open(s3.uri("taken/run"))
    layout.filesystem.create_dir(str(layout.root))
    options = ["--space", "digits", "--smoke", "--name", "run", "--storage", s3.uri("taken")]
    assert main(["tune", *options]) == 2
    assert f"the run {layout.location} exists" in capsys.readouterr().err
