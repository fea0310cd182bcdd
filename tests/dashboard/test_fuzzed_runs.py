"""Runs that somebody damaged, also on purpose: the page says what is wrong, and reads nothing else."""

import ctypes
import json
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dashboard_app import APP, PAGES, open_page, texts
from edge_runs import book, build

from raysys.store.layout import RunLayout
from raysys.store.manifest import _checksum
from raysys.store.reader import reports_of, trials_of

LONG = "x" * 10_000_000
"""A name of 10 MB."""

FURTHER = tuple(page for page in PAGES if page != "overview")

Open = Callable[[str, tuple[str, ...]], dict[str, str]]
"""What pages say of a run."""


def part(layout: RunLayout, content: bytes, folder: str = "trials") -> None:
    """Put a part with this content, and the right checksum in its name, in the place of all."""
    for file in (layout.root / folder).iterdir():
        file.unlink()
    name = f"part-00000001-00000001-{zlib.crc32(content):08x}.parquet"
    (layout.root / folder / name).write_bytes(content)


def table(layout: RunLayout, change: Callable[[pa.Table], pa.Table], folder: str = "trials") -> None:
    """Change a table of the run; its checksum is right."""
    parts = {"trials": trials_of, "reports": reports_of}[folder](layout)
    sink = pa.BufferOutputStream()
    pq.write_table(change(parts.read().table), sink)
    part(layout, sink.getvalue().to_pybytes(), folder)


def column(name: str, values: Any, folder: str = "trials") -> Callable[[RunLayout], None]:
    """Give a column of a table another content, one value for all rows or a list of values."""

    def change(rows: pa.Table) -> pa.Table:
        new = values if isinstance(values, list) else [values] * rows.num_rows
        new = [new[number % len(new)] for number in range(rows.num_rows)]
        at = rows.column_names.index(name) if name in rows.column_names else rows.num_columns
        kind = rows.schema.field(name).type if name in rows.column_names else None
        try:
            array = pa.array(new, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            array = pa.array(new)
        return (
            rows.set_column(at, name, array) if name in rows.column_names else rows.append_column(name, array)
        )

    return lambda layout: table(layout, change, folder)


def manifest(**changes: Any) -> Callable[[RunLayout], None]:
    """Say something else in run.json; its checksum is right."""

    def damage(layout: RunLayout) -> None:
        data = json.loads(layout.run_json.read_text())
        data.pop("checksum")
        data.update(changes)
        layout.run_json.write_text(json.dumps({**data, "checksum": _checksum(data)}))

    return damage


def text(name: str, content: str | bytes) -> Callable[[RunLayout], None]:
    """Put a file of the run."""

    def damage(layout: RunLayout) -> None:
        path = layout.root / name
        if path.parent.is_file():
            path.parent.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)

    return damage


def cut(folder: str) -> Callable[[RunLayout], None]:
    def damage(layout: RunLayout) -> None:
        file = next((layout.root / folder).glob("part-*"))
        file.write_bytes(file.read_bytes()[:-200])

    return damage


def outside(name: str) -> Callable[[RunLayout], None]:
    """Put a link to what lies beside the storage in the place of a file or folder of the run."""

    def damage(layout: RunLayout) -> None:
        path = layout.root / name
        if "part" in name:
            path = next(path.parent.glob("part-*"))
        target = layout.root.parents[1] / "outside" / path.relative_to(layout.root)
        if path.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    return damage


def pipe(name: str) -> Callable[[RunLayout], None]:
    def damage(layout: RunLayout) -> None:
        path = layout.root / name
        if "part" in name:
            path = next(path.parent.glob("part-*"))
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)

    return damage


def bomb() -> bytes:
    """A PNG of a few kB that is an image of 3.6 GB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10_000))
        + chunk(b"IEND", b"")
    )


def times(seconds: float) -> Callable[[RunLayout], None]:
    def damage(layout: RunLayout) -> None:
        for path in layout.root.rglob("*"):
            os.utime(path, (seconds, seconds))

    return damage


def wide(layout: RunLayout) -> None:
    def change(rows: pa.Table) -> pa.Table:
        for number in range(3000):
            rows = rows.append_column(f"param.x{number}", pa.array([1.0] * rows.num_rows))
        return rows

    table(layout, change)


def together(*damages: Callable[[RunLayout], None]) -> Callable[[RunLayout], None]:
    def damage(layout: RunLayout) -> None:
        for one in damages:
            one(layout)

    return damage


def record(body: bytes) -> bytes:
    """A line of a journal; its checksum is right."""
    return b"%08x %b\n" % (zlib.crc32(body), body)


MANIFESTS: dict[str, Callable[[RunLayout], None]] = {
    "empty run.json": text("run.json", ""),
    "null": text("run.json", "null"),
    "list": text("run.json", "[]"),
    "deep": text("run.json", "[" * 200_000),
    "no text": text("run.json", b"\xff\xfe\x00"),
    "long number": text("run.json", '{"schema_version": ' + "9" * 10_000 + "}"),
    "huge file": text("run.json", json.dumps({"schema_version": 2, "raysys": LONG})),
    "wrong checksum": text("run.json", '{"schema_version": 2, "checksum": "00"}'),
    "newer": manifest(schema_version=99),
    "version is text": manifest(schema_version="2"),
    "generation is text": manifest(generation="many"),
    "trials is text": manifest(trials="many"),
    "trials below zero": manifest(trials=-1),
    "charged is NaN": manifest(charged=float("nan")),
    "charged is infinite": manifest(charged=float("inf")),
    "caps are lists": manifest(caps={"queries": [1]}),
    "space is text": manifest(space="digits"),
    "space's name is long": manifest(space={"name": "x" * 1000}),
    "space's name is half a character": manifest(space={"name": "\ud800"}),
    "price is text": manifest(space={"name": "digits", "price": "free"}),
    "price is NaN": manifest(space={"name": "digits", "price": float("nan")}),
    "price is infinite": manifest(space={"name": "digits", "price": 1e400}),
    "limits are text": manifest(space={"name": "digits", "limits": {"val_accuracy": "high"}}),
    "parameters are numbers": manifest(space={"name": "digits", "parameters": {"lr": 1}}),
    "no objective": manifest(objectives=[]),
    "no score": manifest(objectives=[{"name": "queries", "direction": "minimize"}]),
    "unknown objective": manifest(
        objectives=[
            {"name": "val_accuracy", "direction": "maximize"},
            {"name": "queries", "direction": "minimize"},
            {"name": "beauty", "direction": "maximize"},
        ]
    ),
    "reference beyond all": manifest(reference={"accuracy": 2.0, "queries": 0}),
    "created some day": manifest(created="some day"),
    "run.json outside": outside("run.json"),
    "run.json is a pipe": together(text("run.json.previous", ""), pipe("run.json")),
}
"""What makes a run unreadable."""

TABLES: dict[str, Callable[[RunLayout], None]] = {
    "truncated trials": cut("trials"),
    "truncated reports": cut("reports"),
    "garbage": lambda layout: part(layout, b"garbage" * 100),
    "empty part": lambda layout: part(layout, b""),
    "only magic": lambda layout: part(layout, b"PAR1" + b"\0" * 50 + b"PAR1", "reports"),
    "no status": lambda layout: table(layout, lambda rows: rows.drop_columns(["status"])),
    "no columns": lambda layout: table(layout, lambda rows: rows.select([])),
    "queries are text": column("queries", "many"),
    "uids are numbers": column("uid", 7, "reports"),
    "parameters are lists": column("param.nested", [[1, 2]]),
    "losses are structs": column("loss.nested", [{"a": 1}], "reports"),
    "thousands of columns": wide,
    "unknown status": column("status", "exploded"),
    "status is null": column("status", None),
    "uid is null": column("uid", None),
    "uid of 10 MB": column("uid", LONG),
    "error of 10 MB": column("error", LONG),
    "config is no JSON": column("config", "{"),
    "config is a list": column("config", "[1]"),
    "config is nested": column("config", '{"a": {"b": 1}}'),
    "config is deep": column("config", "[" * 100_000),
    "config with a long name": column("config", json.dumps({"x" * 5000: 1})),
    "queries below zero": column("queries", -5),
    "queries without end": column("queries", 2**62, "reports"),
    "step below zero": column("step", -1, "reports"),
    "step without end": column("step", 2**62, "reports"),
    "no UTF-8": lambda layout: table(
        layout,
        lambda rows: rows.set_column(
            rows.column_names.index("method"),
            "method",
            pa.Array.from_buffers(
                pa.string(),
                rows.num_rows,
                [None, pa.py_buffer(np.arange(rows.num_rows + 1, dtype=np.int32)), pa.py_buffer(b"\xff" * 9)],
            ),
        ),
    ),
}
"""What makes a part of a table unreadable: the rest is shown, and the strip says so."""

SHOWN: dict[str, Callable[[RunLayout], None]] = {
    "one uid for all": column("uid", "u00000"),
    "uids that nobody chose": column(
        "uid", ["../../../etc/passwd", "数字 $5$ <script>alert(1)</script>", "a\nb"]
    ),
    "no number is finite": column("val_accuracy", [float("nan"), float("inf"), float("-inf")]),
    "numbers without sense": together(
        column("val_accuracy", [1e300, -1e300, 5.0]),
        column("seconds", [-1e18, 1e300, float("nan")]),
        column("seed", [2**63 - 1, -(2**63), 0]),
        column("more", [[1, 2]]),
        times(2**33),
    ),
    "reports of no trial": column("uid", "u99999", "reports"),
    "nothing was reached": together(column("val_accuracy", None, "reports"), times(-(2**31))),
    "no queries": together(
        column("queries", 0), manifest(trials=10**15, charged=10**18, created="0001-01-01T00:00:00+00:00")
    ),
}
"""What is odd, yet shown on all pages."""

PICTURE, PAIRS, JOURNAL = "samples/u00001/00001.png", "students/u00001/pairs.parquet", "ledger/journal.jsonl"

FILES: dict[str, Callable[[RunLayout], None]] = {
    "trials outside": outside("trials/part"),
    "trials are a pipe": pipe("trials/part"),
    "reports outside": outside("reports"),
    "driver outside": outside("driver.json"),
    "driver is a pipe": pipe("driver.json"),
    "driver is garbage": text("driver.json", '{"host": 1'),
    "driver is deep": text("driver.json", "[" * 200_000),
    "ledger outside": outside("ledger"),
    "ledger's journal outside": outside(JOURNAL),
    "ledger is a pipe": pipe(JOURNAL),
    "ledger is garbage": text(JOURNAL, b"\0garbage\n" * 5),
    "ledger of another version": text(JOURNAL, record(b'{"time": 1, "new": 1}')),
    "ledger is no object": text(JOURNAL, record(b"[[1]]")),
    "ledger of other types": text(
        JOURNAL, record(b'{"time": 1, "open": "u00001", "budget": [], "epoch": 0}')
    ),
    "ledger is empty": text(JOURNAL, b""),
    "ledger is a folder": text(f"{JOURNAL}/note", b""),
    "samples outside": outside("samples"),
    "samples in circles": lambda layout: (layout.root / "samples").symlink_to("samples"),
    "samples are a pipe": pipe(PICTURE),
    "samples are a bomb": text(PICTURE, bomb()),
    "samples are garbage": text(PICTURE, b"\x89PNG garbage"),
    "samples are empty": text(PICTURE, b""),
    "students outside": outside("students/u00001"),
    "students in circles": lambda layout: (layout.root / "students").symlink_to(".."),
    "students are garbage": text(PAIRS, b"PAR1garbagePAR1"),
}
"""Further files of a run."""

READERS = {
    "trials": ("tradeoff", "trials"),
    "reports": ("budget", "convergence", "curves"),
    "driver": (),
    "ledger": ("convergence", "export", "queries", "trial"),
    "samples": ("images", "trial"),
    "students": ("export", "images", "trial"),
}
"""By the first word of a file's damage, the pages that read it, beside the overview."""


@contextmanager
def unread(folder: Path) -> Iterator[None]:
    """Fail when a file below the folder is opened meanwhile, by Python or by what it calls (Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    try:
        for path in [folder, *folder.rglob("*")]:
            assert libc.inotify_add_watch(watch, os.fsencode(path), 0x20) >= 0  # IN_OPEN
        yield
        with pytest.raises(BlockingIOError):  # nothing happened
            pytest.fail(f"something outside was opened: {os.read(watch, 4096)!r}")
    finally:
        os.close(watch)


@contextmanager
def opened(folder: Path, damages: dict[str, Callable[[RunLayout], None]]) -> Iterator[Open]:
    """One session over a storage with the damaged runs; in the end, it shows the good run `three`."""
    (folder / "outside").mkdir()
    (folder / "outside" / "note").touch()
    for name, damage in damages.items():
        layout = build(folder / "storage", "three")
        book(layout)
        layout.root.rename(folder / "storage" / name)
        damage(RunLayout(folder / "storage" / name))
    build(folder / "storage", "three")
    with pytest.MonkeyPatch.context() as monkeypatch:
        app = open_page(monkeypatch, folder / "storage", run="three")

        def look(name: str, pages: tuple[str, ...]) -> dict[str, str]:
            told = {}
            monkeypatch.setattr(sys, "argv", [str(APP), str(folder / "storage")])
            with unread(folder / "outside"):
                for page in ("overview", *pages):
                    app.switch_page(f"views/{page}.py")
                    app.selectbox(key="run").select(name).run()
                    assert [one.value for one in app.exception] == [], page
                    assert app.selectbox(key="run").value == name
                    told[page] = texts(app)
                    assert "Traceback" not in told[page]
                    assert len(told[page]) < 100_000
            return told

        yield look
        assert "This run cannot be read." not in look("three", ())["overview"]


def session(damages: dict[str, Callable[[RunLayout], None]]) -> Any:
    @pytest.fixture(scope="module")
    def look(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
        with opened(tmp_path_factory.mktemp("runs"), damages) as one:
            yield one

    return look


unreadable, damaged, odd, further = (session(damages) for damages in (MANIFESTS, TABLES, SHOWN, FILES))


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_run_that_cannot_be_read_says_why(unreadable, name):
    told = unreadable(name, ())["overview"]
    assert "This run cannot be read." in told
    assert f"{name}/run.json" in told
    assert "is damaged" in told or "checksum" in told or "newer raysys" in told or "is not opened" in told


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_part_is_left_out_and_told(damaged, name):
    for words in damaged(name, ("tradeoff",)).values():
        assert "cannot be read and are left out: " in words
        assert "/part-00000001" in words


@pytest.mark.parametrize("name", SHOWN)
def test_an_odd_run_is_shown(odd, name):
    odd(name, FURTHER)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_stops_no_page(further, name):
    further(name, READERS[name.replace("'", " ").split()[0]])


def test_a_run_outside_is_named_and_not_read(tmp_path, monkeypatch):
    build(tmp_path / "storage", "three")
    linked = build(tmp_path / "outside", "one").root
    (tmp_path / "storage" / "linked").symlink_to(linked)
    (tmp_path / "storage" / "in circles").symlink_to("in circles")
    with unread(tmp_path / "outside"):
        app = open_page(monkeypatch, tmp_path / "storage", run="linked")
    assert not app.exception
    told = texts(app)
    assert "storage/linked/" in told
    assert "leads out of" in told
