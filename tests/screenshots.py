"""Pictures of the dashboard's pages, from real runs: `make screenshots RUNS=DIR`."""

import argparse
import io
import sys
from pathlib import Path
from urllib.parse import urlencode

from chromium import launched, settled, visit
from PIL import Image
from playwright.sync_api import Page
from served import served

from raysys.figures.picture import find_chromium
from raysys.store.reader import read_run
from raysys.store.runs import latest_layouts

PAGES = {"overview": 1150, "tradeoff": 930, "budget": 730}
"""Page -> how much of it is shown, in pixels."""


def main() -> int:
    """Draw the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("storage", type=Path, help="the folder that holds the runs")
    parser.add_argument(
        "--run", help="the run to show (default: the first by name); others are compared with it"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="the folder of the pictures")
    args = parser.parse_args()
    browser = find_chromium()
    if browser is None:
        print("error: no Chromium: make browser installs it, or set RAYSYS_CHROMIUM", file=sys.stderr)
        return 2
    runs = {layout.name: read_run(layout) for layout in latest_layouts(args.storage)}
    name = args.run or min(runs)
    run = runs[name]
    seeds = [one for one in sorted(runs) if runs[one].manifest.space_digest == run.manifest.space_digest]
    query = {"run": name, "vs": [one for one in seeds if one != name]}
    log = args.output / "server.log"
    with served(args.storage, log=log) as address, launched(browser) as context:
        for title, height in PAGES.items():
            page = context.new_page()
            path = "" if title == "overview" else title
            visit(page, f"{address}/{path}?{urlencode(query, doseq=True)}")
            (args.output / f"{title}.png").write_bytes(picture(page, height))
            page.close()
    log.unlink()
    return 0


def picture(page: Page, height: int) -> bytes:
    """The upper part of the page as a small PNG."""
    page.set_viewport_size({"width": 1280, "height": height})
    settled(page)
    small = io.BytesIO()
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(256).save(small, "PNG", optimize=True)
    return small.getvalue()


if __name__ == "__main__":
    sys.exit(main())
