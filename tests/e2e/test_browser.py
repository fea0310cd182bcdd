"""The dashboard in a real browser, served by the real command."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest
from edge_runs import build
from playwright.sync_api import Page, expect, sync_playwright

from raysys.figures.picture import find_chromium

pytestmark = pytest.mark.slow

# Without a GPU, WebGL is drawn in software.
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
HARMLESS = ("GPU stall due to ReadPixels", "Canvas2D: Multiple readback operations")


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The dashboard over a storage with two runs, until the test ends."""
    build(tmp_path, "three")
    build(tmp_path, "many")  # the last changed is what the page opens with, so the address leaves it out
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "raysys",
        "dashboard",
        str(tmp_path),
        "--port",
        str(port),
        "--no-browser",
    ]
    log = tmp_path / "server.log"
    with log.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as server:
        try:
            wait_until_up(f"http://127.0.0.1:{port}/_stcore/health", server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def wait_until_up(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                answer.read()
                return
        except (URLError, TimeoutError):
            try:
                server.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
    pytest.fail(f"the dashboard ended: {log.read_text()}")


@pytest.fixture
def page() -> Iterator[Page]:
    """A page whose console and requests are checked when the test ends."""
    chromium = find_chromium()
    if chromium is None:
        reason = "no Chromium: `make browser` installs it, or set RAYSYS_CHROMIUM"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.on("console", lambda message: problems.append(message.text) if is_problem(message) else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if is_foreign(request.url) else None)
        yield page
        browser.close()
    assert problems == []


def is_problem(message) -> bool:
    return message.type in ("error", "warning") and not any(text in message.text for text in HARMLESS)


def is_foreign(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"


def settled(page: Page) -> None:
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def test_look_at_a_run_and_pick_a_trial(address: str, page: Page) -> None:
    page.goto(f"{address}/?run=three")
    front = page.get_by_role("figure", name="Pareto front of 3 points among 3 finished trials")
    expect(front.locator(".js-plotly-plot")).to_be_visible()
    settled(page)
    plot = "document.querySelector('.js-plotly-plot')"
    assert page.evaluate(f"{plot}._fullLayout.xaxis.type") == "log"
    assert page.evaluate(f"{plot}._fullData.map(trace => trace.name)") == ["front", "knee"]
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    expect(page.get_by_role("figure", name="of trial u00001 over queries")).to_be_visible()

    # The table is a canvas: the first column of its first row holds the check box.
    page.get_by_test_id("stDataFrame").click(position={"x": 16, "y": 52})
    expect(page.get_by_role("figure", name="of trial u00000 over queries")).to_be_visible()
    expect(page).to_have_url(f"{address}/?run=three&trial=u00000")

    page.get_by_role("combobox", name="Trial").click()
    page.get_by_role("option", name="u00002").click()
    expect(page.get_by_role("figure", name="of trial u00002 over queries")).to_be_visible()


def test_another_run_and_the_anytime_front_in_the_dark(address: str, page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(f"{address}/?run=many&trial=u00042")
    expect(page.get_by_role("figure", name="of trial u00042 over queries")).to_be_visible()
    page.get_by_role("radio", name="all reports").click()
    expect(page.get_by_role("figure", name="among 180 reports")).to_be_visible()
    page.get_by_role("combobox", name="Run").click()
    page.get_by_role("option", name="three").click()
    expect(page.get_by_role("figure", name="among 9 reports")).to_be_visible()
    settled(page)
