"""The dashboard in a real browser, served by the real command."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from chromium import launched, settled, visit
from dashboard_app import PAGES
from edge_runs import RUNS, build, trial, write_run
from playwright.sync_api import BrowserContext, Locator, Page, expect
from served import served

from raysys.figures.picture import find_chromium
from raysys.store.layout import RunLayout
from raysys.store.writer import RunWriter

pytestmark = pytest.mark.slow

HARMLESS = re.compile(r"GPU stall due to ReadPixels|Canvas2D: Multiple readback operations")
# Streamlit asks below a page's own address first.
DEEP_LINK = re.compile(r"/[a-z]+/_stcore/(health|host-config)$")

# The charts and tables that a screen reader would not tell of.
UNNAMED = """drawn => drawn
    .filter(one => !one.closest("[role=figure][aria-label]"))
    .filter(one => !one.querySelector("[role=region][aria-label]"))
    .map(one => one.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of all kinds."""
    root = tmp_path_factory.mktemp("runs")
    for name in RUNS:
        build(root, name)
    return root


@pytest.fixture(scope="module")
def address(storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(storage, log=tmp_path_factory.mktemp("server") / "log") as address:
        yield address


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    path = find_chromium()
    if path is None:
        reason = "no Chromium: `make browser` installs it, or set RAYSYS_CHROMIUM"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with launched(path) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A new visit; its console and requests are checked when the test ends."""
    problems: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: problems.append(message.text) if is_problem(message) else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if is_foreign(request.url) else None)
    yield page
    page.close()
    assert problems == []


def is_problem(message) -> bool:
    if message.type not in ("error", "warning") or HARMLESS.search(message.text):
        return False
    return not ("404" in message.text and DEEP_LINK.search(message.location["url"]))


def is_foreign(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"


def chart(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{key} .js-plotly-plot")


def pixel(page: Page, key: str, trace: str, at: int) -> tuple[float, float]:
    """Where on the screen the point `at` of a trace is."""
    plot = chart(page, key)
    expect(plot).to_be_visible()
    plot.scroll_into_view_if_needed()
    return tuple(
        plot.evaluate(
            """(plot, [name, at]) => {
                const trace = plot._fullData.find(one => one.name === name);
                const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
                return [box.left + xaxis._offset + xaxis.d2p(trace.x[at]),
                        box.top + yaxis._offset + yaxis.d2p(trace.y[at])];
            }""",
            [trace, at],
        )
    )


def count(page: Page, key: str, trace: str) -> int:
    """How many points a trace has."""
    return chart(page, key).evaluate(
        "(plot, name) => plot._fullData.find(one => one.name === name).x.length", trace
    )


def x_range(page: Page, key: str) -> list[float]:
    return chart(page, key).evaluate("plot => [...plot._fullLayout.xaxis.range]")


def pick(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()


def has_content(page: Page) -> Locator:
    """What tells that a page is no empty frame: a chart, a table, an image, or why there is none."""
    kinds = ("stPlotlyChart", "stDataFrame", "stTable", "stImage", "stAlert", "stMetric", "stDownloadButton")
    return page.locator(", ".join(f"[data-testid={kind}]" for kind in kinds)).first


def path_of(name: str) -> str:
    return "" if name == "overview" else name


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_by_its_address(address: str, page: Page, name: str) -> None:
    visit(page, f"{address}/{path_of(name)}?run=many&vs=three")
    expect(has_content(page)).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert page.locator("[data-testid=stPlotlyChart], [data-testid=stDataFrame]").evaluate_all(UNNAMED) == []

    app = page.get_by_test_id("stApp")
    light = app.evaluate("app => getComputedStyle(app).backgroundColor")
    page.emulate_media(color_scheme="dark")
    expect(app).not_to_have_css("background-color", light)
    expect(has_content(page)).to_be_visible()

    page.set_viewport_size({"width": 1000, "height": 1000})
    settled(page)
    width = "[document.scrollingElement, document.querySelector('[data-testid=stMain]')]"
    # Charts follow the window a moment later.
    page.wait_for_function(f"{width}.every(one => one.scrollWidth <= one.clientWidth)")


@pytest.mark.parametrize("name", ["none", "failed-only", "Prüfung 数字 $5$"])
def test_a_walk_through_the_pages_of_a_run_with_little_in_it(address: str, page: Page, name: str) -> None:
    visit(page, f"{address}/")
    pick(page, "Run", name)
    expect(page).to_have_title(f"Overview · {name} · raysys")
    menus = {"Search": ("Convergence", "Parameters", "Trials", "Trial"), "Evidence": ("Curves", "Images")}
    for menu, titles in menus.items():
        for title in titles:
            page.get_by_role("navigation").get_by_role("button", name=menu).click()
            page.get_by_role("menuitem", name=title, exact=True).click()
            expect(page).to_have_title(f"{title} · {name} · raysys")
            settled(page)
            expect(has_content(page)).to_be_visible()
            expect(page.get_by_test_id("stException")).to_have_count(0)


def test_a_click_on_a_point_of_the_front_leads_to_its_trial_and_back(address: str, page: Page) -> None:
    visit(page, f"{address}/tradeoff?run=three")
    page.mouse.click(*pixel(page, "front-chart", "front", 1))
    expect(page).to_have_url(re.compile(r"/trial\?.*trial=u00001"))
    expect(page.get_by_role("heading", name="Trial")).to_be_visible()
    expect(page.get_by_role("combobox", name="Trial", exact=True)).to_have_value("u00001")
    settled(page)
    page.go_back()
    expect(page.get_by_role("heading", name="Trade-off")).to_be_visible()
    # Streamlit has put the trial into the address before it switches the page.
    expect(page).to_have_url(re.compile(r"/tradeoff\?(trial=u00001&)?run=three$"))


def test_back_finds_the_trial_that_was_left(address: str, page: Page) -> None:
    visit(page, f"{address}/trial?run=three&trial=u00002")
    expect(page.get_by_role("combobox", name="Trial", exact=True)).to_have_value("u00002")
    page.get_by_role("link", name="Budget").click()
    expect(page).to_have_title("Budget · three · raysys")
    settled(page)
    page.go_back()
    expect(page.get_by_role("combobox", name="Trial", exact=True)).to_have_value("u00002")


def test_back_shows_the_page_and_the_view_before(address: str, page: Page) -> None:
    view = f"{address}/tradeoff?front=all+reports&max-queries=900&run=three"
    visit(page, view)
    page.get_by_role("link", name="Budget").click()
    expect(page).to_have_title("Budget · three · raysys")
    settled(page)
    page.go_back()
    expect(page.get_by_role("heading", name="Trade-off")).to_be_visible()
    expect(page).to_have_url(view)
    expect(page.get_by_role("spinbutton", name="Max queries")).to_have_value("900")


def test_limits_filter_the_front_and_are_in_the_address(address: str, page: Page) -> None:
    visit(page, f"{address}/tradeoff?run=three")
    expect(chart(page, "front-chart")).to_be_visible()
    assert count(page, "front-chart", "front") == 3
    page.get_by_role("spinbutton", name="Max queries").fill("1000")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{address}/tradeoff?max-queries=1000&run=three")
    page.wait_for_function(
        "document.querySelector('.st-key-front-chart .js-plotly-plot')"
        "?._fullData?.find(one => one.name === 'front')?.x.length === 2"
    )


def test_an_address_shows_the_same_view_to_a_new_visitor(address: str, page: Page) -> None:
    view = (
        f"{address}/tradeoff?front=all+reports&max-queries=1500&min-score=40"
        "&pin=u00001&pin=u00003&run=many&vs=seeds&vs=three"
    )
    visit(page, view)
    shown(page)
    page.get_by_role("button", name="Copy link").click()
    link = page.get_by_test_id("stPopoverBody").get_by_test_id("stCode").inner_text().strip()
    page.goto("about:blank")
    visit(page, link)
    shown(page)
    expect(page).to_have_url(view)


def shown(page: Page) -> None:
    """What the address of the test above asks for."""
    expect(page.get_by_role("combobox", name="Run")).to_have_value("many")
    for picked in ("seeds", "three", "u00001", "u00003"):
        expect(page.get_by_role("button", name=f"Remove {picked}")).to_be_visible()
    expect(page.get_by_role("radio", name="all reports")).to_be_checked()
    expect(page.get_by_role("spinbutton", name="Max queries")).to_have_value("1500")
    expect(page.get_by_role("spinbutton", name="Min score")).to_have_value("40")


def test_another_run_leaves_what_belongs_to_the_first_behind(address: str, page: Page) -> None:
    visit(page, f"{address}/tradeoff?max-queries=1500&pin=u00001&run=three&vs=many&vs=seeds")
    pick(page, "Run", "many")
    expect(page).to_have_url(f"{address}/tradeoff?max-queries=1500&run=many&vs=seeds")
    settled(page)
    page.reload()
    expect(page).to_have_title("Trade-off · many · raysys")


def test_a_run_is_picked_in_the_table_of_all_runs(address: str, page: Page) -> None:
    visit(page, f"{address}/?pin=u00001&run=three&vs=many")
    cell(page, "runs-of-three", 0)
    expect(page).to_have_url(re.compile(r"/\?run=(?!three)[^&]+&vs=many$"))
    expect(page.get_by_role("combobox", name="Run")).not_to_have_value("three")


def cell(page: Page, key: str, row: int) -> None:
    """Click the check box of a row: a table is a canvas."""
    table = page.locator(f".st-key-{key}").get_by_test_id("stDataFrame")
    table.scroll_into_view_if_needed()
    table.click(position={"x": 16, "y": 52 + 35 * row})


def test_nonsense_in_the_address_falls_back(address: str, page: Page) -> None:
    visit(
        page,
        f"{address}/tradeoff?run=../../etc&vs=nobody&front=x&score=y&third=z&pin=u9&max-queries=-1&min-score=nan",
    )
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page).to_have_url(re.compile(rf"{address}/tradeoff(\?run=[^&]*)?$"))
    expect(page.get_by_role("spinbutton", name="Max queries")).to_have_value("")


def test_from_the_trials_to_one_of_them_by_keyboard_alone(address: str, page: Page) -> None:
    visit(page, f"{address}/trials?run=three")
    box = page.get_by_role("combobox", name="Open trial")
    for _ in range(80):
        if box.evaluate("box => box === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(box).to_be_focused()
    page.keyboard.type("u00002")
    expect(page.get_by_role("option", name="u00002", exact=True)).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/trial\?.*trial=u00002"))
    expect(page.get_by_role("combobox", name="Trial", exact=True)).to_have_value("u00002")


def test_a_running_run_tells_of_news_and_keeps_the_view_until_refresh(
    address: str, storage: Path, page: Page
) -> None:
    records, changes = RUNS["running"]
    layout = write_run(storage / "growing", records, **changes)
    visit(page, f"{address}/tradeoff?run=growing")
    left, top = pixel(page, "front-chart", "front", 0)
    before = x_range(page, "front-chart")
    page.mouse.move(left - 30, top - 60)
    page.mouse.down()
    page.mouse.move(left + 60, top + 40, steps=4)
    page.mouse.up()
    zoomed = x_range(page, "front-chart")
    assert zoomed != before
    add(layout, 3)
    refresh = page.get_by_role("button", name="Refresh")
    expect(refresh).to_be_visible()
    assert x_range(page, "front-chart") == zoomed
    assert count(page, "front-chart", "front") == 1
    refresh.click()
    page.wait_for_function(
        "document.querySelector('.st-key-front-chart .js-plotly-plot')"
        "?._fullData?.find(one => one.name === 'front')?.x.length === 2"
    )
    expect(refresh).to_have_count(0)


def add(layout: RunLayout, number: int) -> None:
    with RunWriter(layout) as writer:
        writer.trial(trial(number))
