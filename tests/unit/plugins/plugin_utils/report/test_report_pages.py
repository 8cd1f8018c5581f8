# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page, its Markdown and its JSON: valid, accessible as far as markup goes, safe, and of one mind."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest
import report_fleet as fleet
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.model import Report
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.read import read_report
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.render import html, markdown, plain_markdown, to_json
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.theme import (
    DARK,
    LIGHT,
    MARK_PAIRS,
    STAND_INS,
    TEXT_PAIRS,
    contrast,
)


def report(servers: dict[str, Any], gateways: dict[str, Any] | None = None) -> Report:
    return read_report(servers, gateways or {}, "Ollama fleet report", fleet.MADE_AT, "0.1.0")


REPORTS = {
    "one host": lambda: report({"llm1.example.org": fleet.server()}),
    "eight hosts": lambda: report(fleet.eight(), {"edge.example.org": fleet.GATEWAY}),
    "recorded": lambda: report({"ollama2": fleet.recorded("one-slot")}),
    "parts missing": lambda: report(
        {"a": {"ollama_tuning": fleet.tuning(fleet.MACHINES["llm5.example.org"])}, "b": {}}
    ),
    "nothing": lambda: report({"a": {}}),
    "hostile": lambda: report(fleet.hostile(), {fleet.HOSTILE: fleet.GATEWAY}),
}


@cache
def page_of(name: str) -> tuple[Report, str]:
    """A report and its page; drawn once, as that takes seconds for many hosts."""
    found: Report = REPORTS[name]()
    return found, html(found)


@pytest.fixture(params=REPORTS)
def made(request: pytest.FixtureRequest) -> tuple[Report, str]:
    return page_of(request.param)


def parse(page: str) -> Element:
    """The page as a tree; raises where it is not valid."""
    tree: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
    return tree


def only(element: Element, path: str) -> Element:
    found = element.find(path)
    assert found is not None, path
    return found


def words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


SVG = "{http://www.w3.org/2000/svg}"


def test_it_is_a_valid_page_with_language_title_and_landmarks(made: tuple[Report, str]) -> None:
    tree = parse(made[1])
    assert tree.get("lang") == "en"
    assert words(only(tree, "head/title")).startswith("Ollama fleet report: ")
    assert [child.tag for child in only(tree, "body")] == ["a", "header", "main", "footer"]
    assert only(tree, "body/a").get("href") == f"#{only(tree, 'body/main').get('id')}"


def test_headings_are_in_order(made: tuple[Report, str]) -> None:
    levels = [int(each.tag[1]) for each in parse(made[1]).iter() if re.fullmatch("h[1-6]", str(each.tag))]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))


def test_names_are_unique_and_lead_somewhere(made: tuple[Report, str]) -> None:
    tree = parse(made[1])
    names = [each.get("id") for each in tree.iter() if each.get("id")]
    assert len(names) == len(set(names))
    wanted = [
        each.get(kind) for each in tree.iter() for kind in ("aria-labelledby", "aria-describedby") if each.get(kind)
    ]
    wanted += [each.get("href", "")[1:] for each in tree.iter() if each.get("href")]
    wanted += re.findall(r"url\(#([^)]*)\)", made[1])
    assert set(wanted) <= set(names)


def test_every_chart_has_words_and_its_data(made: tuple[Report, str]) -> None:
    for figure in parse(made[1]).iter("figure"):
        drawn = figure.find(f"{SVG}svg")
        if drawn is None:  # too little for a chart: the table stands there openly
            assert figure.find("details") is None
        else:
            assert drawn.get("role") == "img"
            assert words(only(drawn, f"{SVG}title"))
            assert words(only(drawn, f"{SVG}desc")) == words(only(figure, "figcaption"))
            assert figure.find("details/summary") is not None
        assert figure.find(".//table/tbody/tr/td") is not None


def test_tables_say_what_their_cells_are(made: tuple[Report, str]) -> None:
    for table in parse(made[1]).iter("table"):
        assert words(only(table, "caption"))
        columns = table.findall("thead/tr/th")
        assert {each.get("scope") for each in columns} == {"col"}
        for row in table.findall("tbody/tr"):
            assert row[0].get("scope") == "row"
            assert len(row) == len(columns)


def test_nothing_is_fetched_and_nothing_runs(made: tuple[Report, str]) -> None:
    """Whatever a host's name or a log says, it is text."""
    for each in parse(made[1]).iter():
        tag = str(each.tag).removeprefix(SVG)
        assert tag not in {"script", "img", "image", "iframe", "object", "embed", "link", "form", "input", "b0rk"}
        for name, value in each.attrib.items():
            assert not name.startswith("on")
            assert name != "src"
            if name.endswith("href"):
                assert value.startswith("#")
            if name == "style":
                assert "url(" not in value.replace("url(#", "")
        if tag == "style":
            assert "url(" not in words(each)
            assert "@import" not in words(each)


def test_colours_in_charts_follow_the_scheme(made: tuple[Report, str]) -> None:
    drawn = [each for each in parse(made[1]).iter() if str(each.tag).startswith(SVG)]
    assert not [value for each in drawn for value in each.attrib.values() if re.search("#[0-9a-f]{6}", value)]


def test_the_page_the_markdown_and_the_json_agree(made: tuple[Report, str]) -> None:
    """Every table of the page is in the Markdown, cell for cell, and its numbers are the JSON's."""
    found, page = made
    tree = parse(page)
    in_page = [[[words(cell) for cell in row] for row in table.iter("tr")] for table in tree.iter("table")]
    text = markdown(found)
    in_markdown = [rows for rows in markdown_tables(text) if rows[0] != ["Name", "Value", "Why"]]
    assert in_markdown == in_page

    data = json.loads(to_json(found))
    assert data["schema"] == "llmops.ollama.report/1"
    shown = {cell for rows in in_page for row in rows for cell in row}
    for host in data["hosts"]:
        assert host["name"] in [words(each) for each in tree.iter("h2")]
        assert f"## {plain_markdown(host['name'])}\n" in text
        for curve in host["curves"]:
            for level in curve["levels"]:
                assert f"{level['requests_per_second']:.2f}" in shown
        for trial in (host["search"] or {"trials": []})["trials"]:
            assert trial["goodput"] is None or f"{trial['goodput']:.2f}" in shown
        values = [
            [words(part) for part in each] for each in tree.iter("div") if each.find("dd[@class='value']") is not None
        ]
        assert all([value["name"], value["value"], value["reason"]] in values for value in host["values"])


def markdown_tables(text: str) -> list[list[list[str]]]:
    """The cells of each table, without the escapes."""
    tables: list[list[list[str]]] = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = block.splitlines()
        del lines[1]
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
        tables.append([[" ".join(re.sub(r"\\(.)", r"\1", cell).split()) for cell in row] for row in cells])
    return tables


def test_text_of_hosts_stays_text() -> None:
    tree = parse(page_of("hostile")[1])
    assert fleet.HOSTILE_SHOWN in [words(each) for each in tree.iter("h2")]
    assert "{{ 7 * 7 }}" in words(tree)
    text = markdown(page_of("hostile")[0])
    assert not re.search(r"(?<!\\)<\w", text)
    assert not re.search(r"(?<!\\)\]\(", text)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_told_apart(colours: dict[str, str]) -> None:
    assert [pair for pair in TEXT_PAIRS if contrast(colours[pair[0]], colours[pair[1]]) < 4.5] == []
    assert [pair for pair in MARK_PAIRS if contrast(colours[pair[0]], colours[pair[1]]) < 3] == []
    assert set(colours) == set(STAND_INS)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_the_same_data_make_the_same_page() -> None:
    """So that two reports can be compared."""
    found, page = page_of("one host")
    assert html(found) == page
