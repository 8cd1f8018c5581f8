# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The charts, from the report's data. Each is as wide as a phone; what a colour says, a shape or a word says too."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.llmops.ollama.plugins.plugin_utils.report.model import (
    Curve,
    Expectation,
    Trial,
    Variant,
)
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.theme import STAND_INS

with contextlib.suppress(ImportError):  # svg.MISSING then says so
    from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 3.6  # inches of 72 units
HEIGHT = 2.5
ROW = 0.4  # of a chart with one row for each thing
FRAME = 0.8  # axis, legend and air of such a chart

INK, SOFT, RULE = STAND_INS["ink"], STAND_INS["soft"], STAND_INS["rule"]
ACCENT, BEFORE, BAND, PAGE = STAND_INS["accent"], STAND_INS["before"], STAND_INS["band"], STAND_INS["page"]

# How a curve is drawn by its label.
_NEW: dict[str, Any] = {"color": ACCENT, "linestyle": "-", "marker": "o"}
_OLD: dict[str, Any] = {"color": BEFORE, "linestyle": (0, (3, 2)), "marker": "s", "markerfacecolor": PAGE}
STYLES = {"before": _OLD, "direct": _OLD, "after": _NEW, "again": _NEW, "tried": _NEW, "now": _NEW}
OUTLINE: dict[str, Any] = {"height": 0.5, "edgecolor": SOFT, "linewidth": 0.6}
LONGEST_LABEL = 48  # characters; a longer name is cut in the chart and whole in its table


@dataclass(frozen=True)
class Bar:
    """One bar of memory in MiB: ``parts`` by the names of ``PARTS``, up to ``budget`` of ``limit``."""

    name: str
    parts: dict[str, float]
    budget: float
    limit: float


# In the order in which they are drawn: colour, hatch, name in the legend.
PARTS = {
    "weights": "weights",
    "kv": "KV cache",
    "compute": "compute",
    "runtime": "runtime",
    "growth": "prompt caches",
}


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def throughput_latency(curves: Sequence[Curve]) -> Figure:
    """Latency p95 over requests/s; each point is a level of load, named by its requests at a time."""
    figure = _figure(WIDTH, HEIGHT)
    axes = figure.add_subplot()
    for curve in curves:
        style = STYLES.get(curve.label, _NEW)
        # What was before is above and to the left of what is now.
        place, side = ((-6, 1), "right") if style is _OLD else ((5, -7), "left")
        points = [
            (level.requests_per_second, level.latency_p95_s, level)
            for level in curve.levels
            if level.latency_p95_s is not None
        ]
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], label=curve.label, markeredgewidth=1.4, **style)
        for x, y, level in points:
            name = f"{level.concurrency}" if level.rate is None else f"{level.rate:g}/s"
            words: dict[str, Any] = {"ha": side, "fontsize": 7.5, "color": style["color"]}
            axes.annotate(name, (x, y), place, textcoords="offset points", **words)
    axes.set_xlabel("requests/s")
    axes.set_ylabel("latency p95, s")
    _from_zero(axes)
    axes.grid(axis="y")
    if len(curves) > 1:
        figure.legend(loc="outside upper left", ncols=len(curves), handlelength=2.4)
    return figure


def expectations(rows: Sequence[Expectation]) -> Figure:
    """The guide's range as a bar and what was measured as a point, for latency and throughput."""
    figure = _figure(WIDTH, FRAME + 0.25 + 0.3 * len(rows))
    panels = figure.subplots(1, 2, sharey=True)
    sides = (
        ("latency, % more", [(row.expected_latency, row.latency) for row in rows]),
        ("throughput, % more", [(row.expected_throughput, row.throughput) for row in rows]),
    )
    for axes, (name, values) in zip(panels, sides):
        for place, (expected, measured) in enumerate(values):
            if expected:
                low, high = expected
                axes.barh(place, high - low, left=low, color=BAND, label="the guide", **OUTLINE)
            if measured is not None:
                axes.plot(measured, place, linestyle="none", label="measured", **_mark("o", ACCENT, filled=True))
        axes.set_xlabel(name)
        axes.grid(axis="x")
        axes.axvline(0, color=SOFT, linewidth=0.6)
        axes.margins(x=0.1)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(rows)), [f"parallel {row.parallel}" for row in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    _legend(figure, panels[0])
    return figure


def trials(tried: Sequence[Trial]) -> Figure:
    """What each configuration was worth, with its interval of 95 % confidence."""
    figure, axes = _rows(_trial_names(tried))
    for place, trial in enumerate(tried):
        if trial.goodput is None or trial.failure:
            axes.plot(0, place, **_mark("x", SOFT, filled=False), clip_on=False)
            continue
        colour = ACCENT if trial.best else BEFORE
        if trial.goodput_low is not None and trial.goodput_high is not None:
            bounds = [trial.goodput_low, trial.goodput_high]
            axes.plot(bounds, [place, place], color=colour, linewidth=1.4, marker="|", markersize=6)
        axes.plot(trial.goodput, place, **_mark("D" if trial.best else "o", colour, filled=trial.best))
    axes.set_xlabel("goodput, requests/s")
    axes.grid(axis="x")
    _from_zero(axes, "x")
    return figure


def _trial_names(tried: Sequence[Trial]) -> list[str]:
    """The configurations in words, without what all of them share."""
    columns: dict[str, list[Any]] = {
        "parallel": [trial.parallel for trial in tried],
        "threads": [trial.threads for trial in tried],
        "cache": [trial.kv_type for trial in tried],
        "batch": [trial.batch for trial in tried],
    }
    told = {name: values for name, values in columns.items() if name == "parallel" or len(set(values)) > 1}
    names = []
    for place, trial in enumerate(tried):
        words = ", ".join(f"{name} {values[place]}" for name, values in told.items() if values[place])
        marks = (("best", trial.best), ("before", trial.current), ("failed", bool(trial.failure)))
        remarks = ", ".join(word for word, holds in marks if holds)
        names.append(f"{words} ({remarks})" if remarks else words)
    return names


def frontier(variants: Sequence[Variant]) -> Figure:
    """Goodput and memory of each quantization; a filled mark is one that no other beats."""
    figure = _figure(WIDTH, FRAME + ROW * len(variants))
    panels = figure.subplots(1, 2)
    _name_rows(panels[0], [_variant_name(each) for each in variants])
    _name_rows(panels[1], [""] * len(variants))
    sides = (
        ("goodput, requests/s", [each.goodput for each in variants]),
        ("memory, MiB", [each.memory_mb for each in variants]),
    )
    for axes, (name, values) in zip(panels, sides):
        for place, (each, value) in enumerate(zip(variants, values)):
            colour = ACCENT if each.frontier else BEFORE
            if value is None:
                axes.plot(0, place, clip_on=False, **_mark("x", SOFT, filled=False))
            else:
                axes.plot([0, value], [place, place], color=colour, linewidth=1.4, solid_capstyle="butt")
                axes.plot(value, place, **_mark("o", colour, filled=each.frontier))
        axes.set_xlabel(name)
        axes.grid(axis="x")
        _from_zero(axes, "x")
    return figure


def _variant_name(each: Variant) -> str:
    remarks = [f"{each.loss:g} % loss"] if each.loss is not None else []
    remarks += [
        word for word, holds in (("recommended", each.recommended), ("not measured", each.goodput is None)) if holds
    ]
    return (each.quantization or each.model) + (f" ({', '.join(remarks)})" if remarks else "")


def memory(bars: Sequence[Bar], share: bool) -> Figure:
    """What of each limit goes where: in percent of it where ``share``, else in GiB."""
    figure, axes = _rows([bar.name for bar in bars])
    for place, bar in enumerate(bars):
        scale = 100 / bar.limit if share else 1 / 1024
        left = 0.0
        for name, size in bar.parts.items():
            if size > 0:
                axes.barh(
                    place,
                    size * scale,
                    left=left,
                    label=PARTS[name],
                    color=STAND_INS[f"part-{name}"],
                    hatch="////" if name == "growth" else None,
                    **OUTLINE,
                )
                left += size * scale
        reserved = (bar.limit - bar.budget) * scale
        reserve: dict[str, Any] = {"color": "none", "hatch": "xxxx", "label": "reserve"}
        axes.barh(place, reserved, left=bar.budget * scale, **OUTLINE, **reserve)
        axes.barh(place, bar.limit * scale, color="none", **OUTLINE)
    axes.set_xlabel("% of the memory that may be used" if share else "GiB")
    axes.margins(x=0)
    axes.set_xlim(left=0)
    _legend(figure, axes)
    return figure


def changes(rows: Sequence[tuple[str, float | None, float | None]]) -> Figure:
    """Requests/s of each host, before and after where both were measured: (host, before, after)."""
    figure, axes = _rows([name for name, _, _ in rows])
    for place, (_, before, after) in enumerate(rows):
        if before is not None and after is not None:
            axes.plot([before, after], [place, place], color=RULE, linewidth=2.5, solid_capstyle="butt", zorder=1)
        if before is not None:
            axes.plot(before, place, linestyle="none", label="before", **_mark("s", BEFORE, filled=False))
        if after is not None:
            axes.plot(after, place, linestyle="none", label="after", **_mark("o", ACCENT, filled=True))
    if any(before is not None for _, before, _ in rows):
        _legend(figure, axes)
    axes.set_xlabel("requests/s")
    axes.grid(axis="x")
    _from_zero(axes, "x")
    return figure


def _rows(names: Sequence[str]) -> tuple[Figure, Axes]:
    """A chart with a row for each thing."""
    figure = _figure(WIDTH, FRAME + ROW * len(names))
    axes = figure.add_subplot()
    _name_rows(axes, names)
    return figure, axes


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Rows whose names stand above them: a long name then takes no width from the chart."""
    for place, name in enumerate(names):
        axes.text(0, place - 0.28, _short(name), transform=axes.get_yaxis_transform(), va="bottom", fontsize=8)
    axes.set_ylim(len(names) - 0.6, -0.85)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_axisbelow(True)


def _mark(shape: str, colour: str, filled: bool) -> dict[str, Any]:
    return {"marker": shape, "color": colour, "markerfacecolor": colour if filled else PAGE, "markeredgewidth": 1.4}


def _legend(figure: Figure, axes: Axes) -> None:
    """Above the chart, each thing once."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels())))
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper left",
        ncols=3,
        handlelength=1.2,
        columnspacing=1.0,
        labelspacing=0.3,
    )


def _from_zero(axes: Axes, direction: str = "xy") -> None:
    """Axes that begin at 0, so that lengths can be compared."""
    axes.margins(0.12)
    if "x" in direction:
        axes.set_xlim(left=0)
    if "y" in direction:
        axes.set_ylim(bottom=0)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1] + "…"
