"""Where a run lies: what a person writes, what it opens, and what another process gets."""

from pathlib import Path

import pytest
from edge_runs import manifest
from pyarrow.fs import LocalFileSystem
from ray import cloudpickle
from s3_server import S3

from raysys.errors import UsageError
from raysys.store.layout import RunLayout, inside
from raysys.store.manifest import read_manifest, write_manifest
from raysys.store.reader import read_run
from raysys.store.runs import discover


def test_a_local_run_is_named_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given in ("runs/a b", Path("runs/a b"), tmp_path / "runs" / "a b", f"file://{tmp_path}/runs/a%20b"):
        layout = RunLayout.open(given)
        assert layout.location == str(tmp_path / "runs" / "a b")
        assert layout.storage == str(tmp_path / "runs")
        assert layout.name == "a b"
        assert isinstance(layout.filesystem, LocalFileSystem)


def test_a_run_at_a_uri_is_named_by_it_and_its_query(s3: S3) -> None:
    layout = RunLayout.open(s3.uri("team/run"))
    assert layout.root == Path("storage/team/run")
    assert layout.location == s3.uri("team/run")
    assert layout.storage == s3.uri("team")
    assert layout.name == "run"
    write_manifest(layout, manifest())
    assert read_run(layout.location).path == layout.location
    assert [(run.name, run.path) for run in discover(layout.storage)] == [("run", layout.location)]


def test_what_lies_in_a_location_keeps_its_query() -> None:
    assert inside("/runs", "a") == inside("/runs/", "a") == "/runs/a"
    assert inside("s3://bucket", "a") == "s3://bucket/a"
    assert inside("s3://bucket/x/?scheme=http", "a") == "s3://bucket/x/a?scheme=http"
    assert inside("/odd?name", "a") == "/odd?name/a"


def test_another_process_gets_the_run_without_opening_it(s3: S3) -> None:
    layout = RunLayout.open(s3.uri("sent/run"))
    write_manifest(layout, manifest(seed=7))
    sent = cloudpickle.loads(cloudpickle.dumps(layout))
    assert sent == layout
    assert read_manifest(sent).seed == 7


def test_the_endpoint_of_the_environment_goes_with_the_run(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3.endpoint}")
    layout = RunLayout.open("s3://storage/from/environment")
    assert layout.location == "s3://storage/from/environment"
    write_manifest(layout, manifest(seed=8))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert read_manifest(cloudpickle.loads(cloudpickle.dumps(layout))).seed == 8


@pytest.mark.parametrize("uri", ["s4://bucket/x", "s3://bucket/x?nonsense=1", "s3://"])
def test_a_uri_that_means_nothing_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match=r"cannot open s.://"):
        RunLayout.open(uri)
