"""Draw a run's front as an SVG file: `python -m raysys.figures.picture RUN -o docs/front.svg`.

Plotly's own script draws it in a headless Chromium; nothing is fetched. Needs playwright (extra `dev`).
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from raysys.errors import RaysysError, UsageError
from raysys.figures.front import front_figure
from raysys.store.reader import read_run

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Path of a Chromium: `RAYSYS_CHROMIUM`, else the first of the usual names on the PATH, else None."""
    return os.environ.get("RAYSYS_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


def draw_svg(figure: go.Figure, width: int = 900, height: int = 480) -> str:
    """The figure as SVG text, `width` x `height` CSS pixels. Raises UsageError when there is no Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = find_chromium()
    if chromium is None:
        raise UsageError(
            "no Chromium was found",
            "it draws the picture",
            "install it (make browser), or set RAYSYS_CHROMIUM to its path",
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(content=get_plotlyjs())
        script = "([figure, size]) => Plotly.toImage(JSON.parse(figure), {format: 'svg', ...size})"
        url = page.evaluate(script, [figure.to_json(), {"width": width, "height": height}])
        browser.close()
    return unquote(str(url).partition(",")[2]) + "\n"


def main() -> int:
    """Draw the picture; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m raysys.figures.picture", description="Draw a run's front."
    )
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the SVG file")
    args = parser.parse_args()
    try:
        svg = draw_svg(front_figure(read_run(args.run), template="plotly_white"))
    except RaysysError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return failure.exit_code
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
