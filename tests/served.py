"""The dashboard as the real command serves it, and a headless Chromium to look at it."""

import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import URLError

from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

# Without a GPU, WebGL is drawn in software.
_FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@contextmanager
def dashboard(storage: Path) -> Iterator[str]:
    """The dashboard over a storage; its address."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "raysys", "dashboard", str(storage), "--port", port, "--no-browser"]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as server,
    ):
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/_stcore/health", server)
            if server.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"the dashboard ended: {log.read()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait_until_up(url: str, server: "subprocess.Popen[bytes]") -> None:
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


@contextmanager
def chromium(path: str, timeout: float = 60) -> Iterator[BrowserContext]:
    """A browser, which keeps the scripts that it loaded; it waits at most so many seconds for a thing."""
    expect.set_options(timeout=1000 * timeout)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        context.set_default_timeout(1000 * timeout)
        yield context
        browser.close()


def visit(page: Page, url: str) -> None:
    """Open an address and wait until its page is drawn."""
    page.goto(url)
    expect(page.get_by_role("heading").first).to_be_visible()
    settled(page)


def settled(page: Page) -> None:
    """Wait until the page is drawn."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.locator("[data-stale=true]")).to_have_count(0)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    unfinished = (
        "[...document.querySelectorAll('.stPlotlyChart')].some(one => !one.querySelector('.main-svg'))"
    )
    page.wait_for_function(f"!{unfinished}")
