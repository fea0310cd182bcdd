import json
from pathlib import Path

import pytest
from pyarrow.fs import FileSelector
from s3_server import S3

from raysys.cli.app import main


def test_the_doctor_lists_what_is_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    main(["doctor", "--json", "--data-root", str(tmp_path), "--storage", str(tmp_path / "runs")])
    report = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["torch"]["status"] == checks["ray tune"]["status"] == "ok"
    assert checks["data sets"]["detail"].startswith("digits, mnist (in")
    assert not (tmp_path / "runs").exists()


def test_a_storage_that_cannot_be_written_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert main(["doctor", "--json", "--storage", str(tmp_path / "file" / "runs")]) == 3
    captured = capsys.readouterr()
    assert not json.loads(captured.out)["ok"]
    assert "storage" in captured.err


def test_a_cluster_that_is_not_there_is_unreachable(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["doctor", "--storage", str(tmp_path), "--address", "127.0.0.1:1"]) == 6
    assert "no Ray cluster at 127.0.0.1:1" in capsys.readouterr().err


def storage_check(capsys: pytest.CaptureFixture[str], storage: str) -> dict[str, str]:
    main(["doctor", "--json", "--storage", storage])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    [found] = [check for check in json.loads(captured.out)["checks"] if check["name"] == "storage"]
    return dict(found)


def test_a_storage_in_s3_is_written_to_and_no_file_is_left(
    capsys: pytest.CaptureFixture[str], s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filesystem, folder = s3.fresh()
    uri = s3.uri(f"{folder.name}/runs")
    assert storage_check(capsys, uri) == {
        "name": "storage",
        "status": "ok",
        "detail": f"{uri} can be written",
    }
    left = filesystem.get_file_info(FileSelector(str(folder), recursive=True, allow_not_found=True))
    assert not any(info.is_file for info in left)
    for name, value in s3.environment.items():  # the server as a user names it
        monkeypatch.setenv(name, value)
    assert storage_check(capsys, f"s3://{folder}/runs")["status"] == "ok"
    assert not any(tmp_path.iterdir())


def test_a_bucket_that_is_not_there_or_takes_no_key_is_a_failed_check(
    capsys: pytest.CaptureFixture[str], s3: S3
) -> None:
    missing = storage_check(capsys, s3.uri("runs", bucket="nobodys"))
    assert (missing["status"], "there is no bucket nobodys" in missing["detail"]) == ("failed", True)
    with s3.checking_credentials():
        refused = storage_check(capsys, s3.uri("runs"))
    assert (refused["status"], "no access to s3://" in refused["detail"]) == ("failed", True)
