"""`raysys report`: the file, what it refuses, and that a browser can open and print it offline."""

import os
from pathlib import Path

import pytest
from edge_runs import build
from playwright.sync_api import sync_playwright

from raysys.cli.app import main
from raysys.figures.picture import find_chromium


def run(capsys, *arguments):
    code = main(["report", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_it_writes_the_file_and_says_how_large_it_is(tmp_path, capsys):
    layout = build(tmp_path, "three")
    code, out, _ = run(capsys, layout.root, "-o", tmp_path / "new" / "report.html")
    assert code == 0
    assert "report.html: 4.9 MB, run 'three' (finished)" in out.replace("\n", " ")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_run_and_file_may_be_uris(tmp_path, capsys):
    layout = build(tmp_path, "one")
    assert run(capsys, layout.root.as_uri(), "-o", (tmp_path / "report.html").as_uri())[0] == 0
    assert (tmp_path / "report.html").stat().st_size > 1e6


def test_it_replaces_nothing_unasked(tmp_path, capsys):
    layout = build(tmp_path, "three")
    (tmp_path / "report.html").write_text("mine")
    code, out, err = run(capsys, layout.root, "-o", tmp_path / "report.html")
    assert (code, out) == (2, "")
    assert "report.html exists" in err and "--force" in err
    assert (tmp_path / "report.html").read_text() == "mine"
    assert run(capsys, layout.root, "-o", tmp_path / "report.html", "--force")[0] == 0
    assert (tmp_path / "report.html").stat().st_size > 1e6
    code, _, err = run(capsys, layout.root, "-o", tmp_path, "--force")
    assert code == 2
    assert "is a folder" in err


def test_what_is_no_run_is_refused_and_leaves_no_file(tmp_path, capsys):
    code, out, err = run(capsys, tmp_path, "-o", tmp_path / "report.html")
    assert (code, out) == (2, "")
    assert "is no run" in err
    assert not (tmp_path / "report.html").exists()


def test_several_runs_are_compared(tmp_path, capsys):
    runs = [build(tmp_path, name).root for name in ("three", "many", "none")]
    assert run(capsys, *runs, "-o", tmp_path / "report.html")[0] == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h2>Compare</h2>" in text
    assert "none has no finished trial" in text


@pytest.mark.slow
def test_a_browser_opens_and_prints_it_offline(tmp_path, capsys):
    chromium = find_chromium()
    if chromium is None:
        reason = "no Chromium: `make browser` installs it, or set RAYSYS_CHROMIUM"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    runs = [build(tmp_path, name).root for name in ("many", "three", "seeds")]
    file: Path = tmp_path / "report.html"
    assert run(capsys, *runs, "-o", file)[0] == 0
    heard: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(
            offline=True, color_scheme="dark", viewport={"width": 1000, "height": 900}
        )
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_function("document.querySelectorAll('.main-svg').length > 0")
        charts = page.locator(".js-plotly-plot")
        assert charts.count() == page.locator("figure").count() >= 5
        assert page.evaluate("document.querySelectorAll('canvas').length") == 0, "SVG only"
        assert page.evaluate("document.documentElement.scrollWidth") <= 1000
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.get_by_text("Charts need scripts").is_visible()
        page.emulate_media(media="print")
        widths = page.evaluate("[...document.querySelectorAll('.main-svg')].map(one => one.clientWidth)")
        assert max(widths) <= 680, "within the margins of A4"
        assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
        bare = browser.new_context(offline=True, java_script_enabled=False).new_page()
        bare.goto(file.as_uri())
        assert bare.get_by_text("Charts need scripts").is_visible()
        assert bare.get_by_role("table", name="The final front").is_visible()
        browser.close()
    assert heard == [file.as_uri()]
