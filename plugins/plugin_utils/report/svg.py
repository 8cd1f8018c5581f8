# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Matplotlib's SVG made part of a page: its words for screen readers, its colours from the page, its names unique."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from ansible_collections.llmops.ollama.plugins.plugin_utils.report.theme import STAND_INS

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

_NAMESPACE = re.compile(r"\{[^}]*\}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_COLOURS = {stand_in: f"var(--{name})" for name, stand_in in STAND_INS.items()}
_COLOUR = re.compile("|".join(_COLOURS))

# One unit of a chart is about 1.3 pixels, on a phone and in a column of a wide screen.
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": STAND_INS["ink"],
    "axes.edgecolor": STAND_INS["soft"],
    "axes.labelcolor": STAND_INS["soft"],
    "xtick.color": STAND_INS["soft"],
    "ytick.color": STAND_INS["soft"],
    "grid.color": STAND_INS["rule"],
    "hatch.color": STAND_INS["soft"],
}


def inline(draw: Callable[[], Figure], key: str, title: str, description: str) -> str:
    """What ``draw`` draws as an element for an HTML page. ``key`` is unique in the page, the texts are plain."""
    target = io.StringIO()
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        # A host's name may have characters that the font for measuring lacks; the reader's browser has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        draw().savefig(target, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(target.getvalue())  # noqa: S314  # matplotlib's own output
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {_NAMESPACE.sub("", name): value for name, value in element.attrib.items()}
        element.tail = None
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("metadata", "style"):
                parent.remove(child)
    _adapt(root, key)
    names = {"title": title, "desc": description}
    for index, (tag, words) in enumerate(names.items()):
        element = ElementTree.Element(tag, {"id": f"{key}-{tag}"})
        element.text = words
        root.insert(index, element)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{key}-title",
        "aria-describedby": f"{key}-desc",
    }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _adapt(root: ElementTree.Element, key: str) -> None:
    used = set()
    for element in root.iter():
        used |= {name for value in element.attrib.values() for name in _REFERENCE.findall(value)}
        used |= {element.attrib["href"][1:]} if "href" in element.attrib else set()
    for element in root.iter():
        if element.attrib.get("id") not in used:
            element.attrib.pop("id", None)
        # A variable is known only within a style.
        painted = [name for name in ("fill", "stroke") if _COLOUR.fullmatch(element.attrib.get(name, ""))]
        style = [f"{name}: {element.attrib.pop(name)}" for name in painted]
        if style:
            element.attrib["style"] = "; ".join([*style, *filter(None, [element.attrib.get("style")])])
        for name, value in element.attrib.items():
            element.attrib[name] = _attribute(name, value, key)


def _attribute(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == "href":
        return f"#{key}-{value[1:]}"
    value = _REFERENCE.sub(rf"url(#{key}-\1)", value)
    if name == "style":
        declarations = [each.strip() for each in value.split(";")]
        value = "; ".join(each for each in declarations if not each.startswith("font-family:"))
        return _COLOUR.sub(lambda found: _COLOURS[found.group()], value)
    if name != "id":
        value = _NUMBER.sub(lambda found: f"{float(found.group()):.2f}", value)
    return " ".join(value.split())
