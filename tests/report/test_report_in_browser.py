# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a reader sees of a report: on a phone, on a screen, in the dark, with a keyboard, on paper.

It is opened in the system's Chromium, headless.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import report_fleet as fleet
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.read import read_report
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.render import html
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

PHONE, SCREEN = 375, 1280
NAMES = ("one", "eight", "hostile")

# Opens a report by its name at a width, in a colour scheme.
OpenReport = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or pytest.fail("There is no chromium: apt-get install chromium")
    # As root it can have no sandbox; it opens only what these tests write.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=arguments)


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One host with all that there can be, eight hosts, and one on which every text is hostile."""
    folder = tmp_path_factory.mktemp("reports")
    made = {"one": {"llm1.example.org": fleet.server()}, "eight": fleet.eight(), "hostile": fleet.hostile()}
    paths = {}
    for name, servers in made.items():
        found = read_report(servers, {"edge.example.org": fleet.GATEWAY}, "Fleet report", fleet.MADE_AT, "0.1.0")
        paths[name] = folder / f"{name}.html"
        paths[name].write_text(html(found), encoding="utf-8")
    return paths


@pytest.fixture
def open_report(browser: Browser, reports: dict[str, Path]) -> Iterator[OpenReport]:
    """The page must fetch nothing, run nothing and complain of nothing, in every test."""
    pages: list[Page] = []
    fetched: set[str] = set()
    said: list[str] = []

    def open_it(name: str, width: int = 1280, scheme: Any = "light") -> Page:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("request", lambda request: fetched.add(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(reports[name].as_uri())
        pages.append(page)
        return page

    yield open_it
    for page in pages:
        page.close()
    assert fetched <= {path.as_uri() for path in reports.values()}
    assert said == []


def wide(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("width", [PHONE, SCREEN])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_out_of_the_page(open_report: OpenReport, name: str, width: int) -> None:
    """With every table open; one that is too wide is scrolled by itself."""
    page = open_report(name, width)
    assert wide(page) == 0
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert wide(page) == 0


@pytest.mark.parametrize("width", [PHONE, SCREEN])
def test_charts_are_there_and_can_be_read(open_report: OpenReport, width: int) -> None:
    page = open_report("one", width)
    charts = page.get_by_role("img")
    names = [
        charts.nth(index).evaluate("each => each.querySelector('title').textContent") for index in range(charts.count())
    ]
    assert names == [
        "Throughput and latency, before and after",
        "What the guide expects, and what was measured",
        "6 configurations tried",
        "Quantizations compared",
        "Memory in the worst case",
    ]
    for index, name in enumerate(names):
        chart = page.get_by_role("img", name=name, exact=True)
        box = chart.bounding_box()
        assert box
        assert box["width"] > 280
        assert box["height"] > 60
        assert 0 <= box["x"] <= width - box["width"]
        assert chart.evaluate("each => each.querySelectorAll('path').length") > 5, index
        heights = chart.evaluate(
            "each => [...each.querySelectorAll('text')].map(text => text.getBoundingClientRect().height)"
        )
        # No letter is smaller than 9 pixels, which is so much with its line.
        assert min(heights) >= 10, name


def test_the_text_says_what_was_found(open_report: OpenReport) -> None:
    page = open_report("eight")
    assert page.title() == "Fleet report: 1 of 8 servers is unhealthy"
    assert page.get_by_role("heading", level=1).inner_text() == "1 of 8 servers is unhealthy"
    main = page.get_by_role("main").inner_text()
    assert "The running server does not have OLLAMA_NUM_PARALLEL=2." in main
    assert "OLLAMA_NUM_PARALLEL is '1' in the process, it should be '2'." in main
    for name in fleet.MACHINES:
        assert (
            page.get_by_role("region", name=name, exact=True).get_by_role("heading", name="Why each value").count() == 1
        )
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="llm3.example.org", exact=True)).first
    assert row.inner_text().split("\t")[-3:] == ["3.25", "+60", "0"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_an_audit_finds_no_barrier(open_report: OpenReport, name: str, scheme: str) -> None:
    page = open_report(name, scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_have_the_colours_of_the_scheme(open_report: OpenReport, scheme: str) -> None:
    """Letters in charts stand out from the page, which the audit does not look at."""
    page = open_report("one", scheme=scheme)
    ground, *letters = page.evaluate(
        """() => [getComputedStyle(document.body).backgroundColor,
                  ...new Set([...document.querySelectorAll('svg text')].map(each => getComputedStyle(each).fill))]"""
    )
    assert letters
    assert min(contrast(letter, ground) for letter in letters) >= 4.5


def contrast(first: str, second: str) -> float:
    """Of two colours as a browser writes them, by the formula of WCAG."""

    def luminance(colour: str) -> float:
        parts = [int(each) / 255 for each in re.findall(r"\d+", colour)[:3]]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_a_keyboard_is_enough(open_report: OpenReport) -> None:
    page = open_report("one", PHONE)
    focused = "(() => { const at = document.activeElement; return [at.tagName, at.textContent.trim().slice(0, 19)] })()"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == ["A", "Skip to the content"]
    assert page.get_by_text("Skip to the content").bounding_box()["x"] >= 0  # type: ignore[index]
    seen: list[Any] = []
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.tagName"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        if seen[-1] == "SUMMARY":
            break
    assert seen[-1] == "SUMMARY"
    table = page.locator("details table").first
    assert not table.is_visible()
    page.keyboard.press("Enter")
    assert table.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "group"
    page.evaluate("window.scrolled = new Promise(done => document.activeElement.onscroll = () => done(true)); null")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("window.scrolled") is True


def test_on_paper(open_report: OpenReport) -> None:
    """Light, in full, each host from the top of a page, and no chart across two of them."""
    page = open_report("eight", scheme="dark")
    paper = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) > len(fleet.MACHINES)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.get_by_role("navigation").is_visible()
    assert page.locator("summary").first.is_visible() is False
    for kind, wanted in ((".chart", "avoid"), (".finding", "avoid"), (".values > div", "avoid")):
        kept = page.eval_on_selector_all(
            kind, "all => [...new Set(all.map(each => getComputedStyle(each).breakInside))]"
        )
        assert kept == [wanted], kind
    # A chart that is higher than a page would be cut whatever is asked for: 267 mm at 96 pixels an inch.
    heights = page.eval_on_selector_all(".chart", "all => all.map(each => each.getBoundingClientRect().height)")
    assert 0 < max(heights) < 267 / 25.4 * 96


def test_a_hostile_text_is_only_text(open_report: OpenReport) -> None:
    page = open_report("hostile")
    assert page.get_by_role("heading", level=2, name=fleet.HOSTILE_SHOWN, exact=True).count() == 1
    assert page.locator("script, b0rk, [onload]").count() == 0
