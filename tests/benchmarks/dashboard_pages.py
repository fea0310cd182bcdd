"""What the dashboard costs on the server: reading, deriving, each page again, memory.

    python tests/benchmarks/dashboard_pages.py [STORAGE] [--trials 10000] [--reports 100] [--reruns 20]

Without a STORAGE with runs, three are written into a temporary folder: seeds 0 and 1 with a trial a config,
seed 2 with three and a ledger. Browsers are not part of it: see tests/e2e.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where pytest finds the builders
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import psutil
import pyarrow.parquet as pq
from dashboard_app import APP, PAGES, charts
from dashboard_run import write_large_run
from rich.console import Console
from rich.table import Table
from served import free_port
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.testing.v1 import AppTest
from websockets.sync.client import connect

from dashboard.server import settle
from raysys.fronts.attainment import attained
from raysys.store.layout import RunLayout
from raysys.store.points import run_front, run_history
from raysys.store.reader import read_run
from raysys.store.runs import latest_layouts

WEBGL = ("scattergl", "parcoords", "scatter3d", "splom", "surface")

_OUT = Console(width=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("storage", type=Path, nargs="?")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--reports", type=int, default=100, help="of each trial")
    parser.add_argument("--reruns", type=int, default=20, help="of each page")
    parser.add_argument("--pages", default=",".join(PAGES))
    arguments = parser.parse_args()
    pages = arguments.pages.split(",")
    with tempfile.TemporaryDirectory() if arguments.storage is None else nullcontext() as folder:
        storage = arguments.storage or Path(folder)
        if arguments.storage is None:
            for name, seed, per_config in (("a", 0, 1), ("b", 1, 1), ("c", 2, 3)):
                write_large_run(
                    storage / name, arguments.trials, arguments.reports, per_config, name == "c", seed
                )
        layouts = latest_layouts(storage)
        for layout in layouts:
            _derivations(layout)
        _pages(storage, layouts[0].name, pages, arguments.reruns)
        _memory(storage, [layout.name for layout in layouts[:3]], pages)


def _derivations(layout: RunLayout) -> None:
    """Each best of five, as the files lie in the page cache."""
    files = sorted([*layout.trials.glob("*.parquet"), *layout.reports.glob("*.parquet")])
    run = read_run(layout)
    front = run_front(run)
    budgets = np.geomspace(1, run.manifest.reference.queries, 200)
    steps = {
        "pyarrow reads the files": lambda: [pq.read_table(file) for file in files],
        "read": lambda: read_run(layout),
        "final front": lambda: run_front(run),
        "history": lambda: run_history(run),
        "attainment of three": lambda: attained([front] * 3, budgets, by=2),
    }
    taken = {name: _milliseconds(step) for name, step in steps.items()}
    taken["read and derive"] = sum(taken.values()) - taken["pyarrow reads the files"]
    taken["anytime front"] = _milliseconds(lambda: run_front(run, "anytime"))
    size = sum(file.stat().st_size for file in files) / 1e6
    title = f"{layout.name}: {run.trials.num_rows:,} trials, {run.reports.num_rows:,} reports, {size:.0f} MB"
    table = Table(title, "CPU ms", box=None)
    for name, value in taken.items():
        table.add_row(name, f"{value:.0f}")
    _OUT.print(table)


def _milliseconds(step: Callable[[], object]) -> float:
    return min(_timed(step)[1] for _ in range(5))


def _timed(step: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds by the clock, and of work of this process: on a shared machine only that tells."""
    start, worked = time.perf_counter(), time.process_time()
    step()
    return 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - worked)


def _pages(storage: Path, run: str, pages: list[str], reruns: int) -> None:
    """Each page as a script, without a browser: the first time, and again; as the server that is up."""
    settle()
    sys.argv = [str(APP), str(storage)]
    app = AppTest.from_file(str(APP), default_timeout=300)
    app.query_params["run"] = run
    app.run()
    table = Table(
        "page",
        "first, CPU",
        "p50",
        "p95",
        "p50, CPU",
        "p95, CPU",
        "charts",
        "largest JSON",
        "all",
        "WebGL",
        box=None,
    )
    for page in pages:
        opened = app.switch_page(f"views/{page}.py")
        _, first = _timed(opened.run)
        clock, cores = zip(*(_timed(opened.run) for _ in range(reruns)), strict=True)
        drawn = charts(opened)
        sizes = [len(json.dumps(figure)) / 1e6 for figure in drawn.values()]
        webgl = sum(one["type"] in WEBGL for figure in drawn.values() for one in figure["data"])
        told = f"[red]{opened.exception[0].value}" if opened.exception else page
        taken = [first, *(np.percentile(one, part) for one in (clock, cores) for part in (50, 95))]
        table.add_row(
            told, *(f"{value:.0f} ms" for value in taken), f"{len(drawn)}",
            f"{max(sizes, default=0):.2f} MB", f"{sum(sizes):.2f} MB", f"{webgl}",
        )  # fmt: skip
    _OUT.print(table)


def _memory(storage: Path, runs: list[str], pages: list[str]) -> None:
    """Of the real server, after a session opened every page of each run."""
    port = free_port()
    command = [sys.executable, "-m", "raysys", "dashboard", str(storage), "--port", str(port), "--no-browser"]
    table = Table("server", "RSS MB", box=None)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            server.stdout.readline()
            process = psutil.Process(server.pid)
            table.add_row("started", f"{process.memory_info().rss / 1e6:.0f}")
            for number, run in enumerate(runs, start=1):
                with connect(f"ws://127.0.0.1:{port}/_stcore/stream", max_size=None) as socket:
                    for page in ("", *pages):
                        _open(socket, f"run={run}", page)
                told = f"every page of {number} runs"
                table.add_row(told, f"{process.memory_info().rss / 1e6:.0f}")
        finally:
            server.terminate()
    _OUT.print(table)


def _open(socket: Any, query: str, page: str) -> None:
    """What a browser sends to see a page; returns when the page is drawn."""
    asked = BackMsg()
    asked.rerun_script.query_string = query
    asked.rerun_script.page_name = page
    socket.send(asked.SerializeToString())
    while True:
        told = ForwardMsg()
        told.ParseFromString(socket.recv(timeout=300))
        if told.WhichOneof("type") == "script_finished":
            return


if __name__ == "__main__":
    main()
