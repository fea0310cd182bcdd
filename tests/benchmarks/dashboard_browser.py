"""What the dashboard costs in a browser: pages of a large run from a click to a settled chart.

    python tests/benchmarks/dashboard_browser.py STORAGE [--run NAME] [--times 20]

`dashboard_run.py` writes such a run. Chromium is headless and draws WebGL in software, on the server's own
cores: a desktop is faster.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where pytest finds the builders

import numpy as np
from chromium import launched, settled, visit
from playwright.sync_api import Page
from rich.console import Console
from rich.table import Table
from served import served

from raysys.figures.picture import find_chromium

DRAWN = """key => new Promise(done => {
    const plot = document.querySelector(`.st-key-${key} .js-plotly-plot`);
    if (!plot) return done(false);
    requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
})"""
"""Two frames later the browser has painted what was there."""


def limit(page: Page, queries: int) -> float:
    """Seconds from a new limit on queries to the settled Trade-off page."""
    field = page.get_by_role("spinbutton", name="Max queries")
    field.fill(str(queries))
    begun = time.perf_counter()
    field.press("Enter")
    page.wait_for_function(f"new URL(location).searchParams.get('max-queries') === '{queries}'")
    settled(page)
    page.evaluate(DRAWN, "front-chart")
    return time.perf_counter() - begun


def switch(page: Page) -> float:
    """Seconds from a click on a page's name to its settled charts: Budget and back to Trade-off."""
    begun = time.perf_counter()
    for title, key in (("Budget", "budget-chart"), ("Trade-off", "front-chart")):
        page.get_by_role("link", name=title).click()
        page.wait_for_function(f"document.title.startsWith('{title} ')")
        page.wait_for_selector(f".st-key-{key} .js-plotly-plot")
        settled(page)
        page.evaluate(DRAWN, key)
    return (time.perf_counter() - begun) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("storage", type=Path)
    parser.add_argument("--run", default="")
    parser.add_argument("--times", type=int, default=20)
    args = parser.parse_args()
    path = find_chromium()
    if path is None:
        sys.exit("needs a Chromium: make browser")
    table = Table("", "n", "p50, s", "p95, s", "target, s")
    with (
        tempfile.TemporaryDirectory() as folder,
        launched(path, timeout=120) as context,
        served(args.storage, log=Path(folder) / "log") as address,
    ):
        page = context.new_page()
        begun = time.perf_counter()
        visit(page, f"{address}/tradeoff" + (f"?run={args.run}" if args.run else ""))
        page.wait_for_selector(".st-key-front-chart .js-plotly-plot")
        table.add_row("first page, all cold", "1", f"{time.perf_counter() - begun:.2f}", "", "4")
        limits = [limit(page, 1000 + 100 * number) for number in range(args.times)]
        pages = [switch(page) for _ in range(args.times)]
    for name, seconds in (("a limit, Trade-off settled", limits), ("a page, its charts settled", pages)):
        p50, p95 = np.percentile(seconds, [50, 95])
        table.add_row(name, str(len(seconds)), f"{p50:.2f}", f"{p95:.2f}", "1.2")
    Console().print(table)


if __name__ == "__main__":
    main()
