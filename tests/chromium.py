"""A headless Chromium that looks at the dashboard, shared by the browser tests and the screenshots."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

# Without a GPU, WebGL is drawn in software.
_FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@contextmanager
def launched(path: str, timeout: float = 30) -> Iterator[BrowserContext]:
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
