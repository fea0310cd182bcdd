"""A run that was copied between a folder and an object store is not gone on with."""

from pathlib import Path

import pytest
from edge_runs import book, build

from raysys.cli.app import main


def test_a_local_copy_of_a_run_on_an_object_store_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = build(tmp_path, "three")
    book(layout)
    (layout.ledger / "owner").write_bytes(b"000001-00000000")
    before = sorted(tmp_path.rglob("*"))
    assert main(["tune", "--resume", str(layout.root), "--dry-run"]) == 5
    err = capsys.readouterr().err
    assert "cannot resume: the ledger in" in err and "was kept on an object store" in err
    assert sorted(tmp_path.rglob("*")) == before
