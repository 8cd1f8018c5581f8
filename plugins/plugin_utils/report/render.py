# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A report as HTML for people, Markdown for chat and JSON for machines. Pure: data in, text out."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ansible_collections.llmops.ollama.plugins.plugin_utils.report import svg
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.model import Report
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.theme import DARK, LIGHT, variables
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.view import Picture, view
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).with_name("templates")

# What Markdown, or HTML within it, would take for more than text.
_SPECIAL = re.compile(r"([\\`*_\[\]<>&|~#$@!])")


def html(report: Report) -> str:
    """One page that needs nothing but itself."""
    environment = _environment(autoescape=True)
    environment.filters["drawn"] = _drawn
    styles = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    ours = {"styles": styles, "light": variables(LIGHT), "dark": variables(DARK)}
    page = environment.get_template("report.html.j2").render(
        view=view(report),
        ours={name: Markup(text) for name, text in ours.items()},  # noqa: S704  # nothing of them is from hosts
    )
    return page.lstrip()


def markdown(report: Report) -> str:
    """The same words and tables, without the charts."""
    environment = _environment(autoescape=False)
    environment.filters["md"] = plain_markdown
    return environment.get_template("report.md.j2").render(view=view(report)).lstrip()


def to_json(report: Report) -> str:
    """The data itself."""
    return json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


FILES = {"report.html": html, "report.md": markdown, "report.json": to_json}


def plain_markdown(text: object) -> str:
    """A text so that Markdown shows it as it is; also in a table's cell."""
    return _SPECIAL.sub(r"\\\1", str(text))


def _drawn(picture: Picture) -> Markup:
    # The words of a chart are escaped by the serializer of its XML.
    drawn = svg.inline(picture.draw, picture.key, picture.title, picture.words) if picture.draw else ""
    return Markup(drawn)  # noqa: S704


def _environment(autoescape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,  # noqa: S701  # off for Markdown alone, which has its own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
