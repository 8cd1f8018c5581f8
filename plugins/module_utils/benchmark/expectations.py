# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tuning guide expects of parallel requests, beside what was measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Range = tuple[int, int]  # percent more than with one request at a time


@dataclass(frozen=True)
class Expected:
    """Changes against OLLAMA_NUM_PARALLEL=1, in percent."""

    latency: Range
    throughput: Range


# The guide's table.
GUIDE: dict[int, Expected] = {
    2: Expected(latency=(5, 10), throughput=(80, 90)),
    4: Expected(latency=(10, 15), throughput=(150, 200)),
    8: Expected(latency=(20, 30), throughput=(250, 300)),
}


@dataclass(frozen=True)
class Measured:
    """Mean latency (s) and requests per second."""

    latency_s: float
    requests_per_second: float


@dataclass(frozen=True)
class Row:
    """One line of the table, as text: changes in percent, empty where nothing was measured."""

    parallel: int
    expected_latency: str
    latency: str
    expected_throughput: str
    throughput: str
    verdict: str


def at_once(document: Mapping[str, Any]) -> dict[int, Measured]:
    """From a benchmark's document: what was measured with so many requests at a time as the server had slots for.

    Empty where the number of slots is not known, or one request at a time was not measured.
    """
    settings = document.get("settings") or {}
    slots = (settings.get("runner") or {}).get("slots") or settings.get("environment", {}).get("OLLAMA_NUM_PARALLEL")
    found = {
        level["concurrency"]: Measured(level["latency_s"]["mean"], level["requests_per_second"])
        for level in document["levels"]
        if level["latency_s"] and level["concurrency"] and level["concurrency"] <= int(slots or 0)
    }
    return found if 1 in found else {}


def beside_guide(measured: Mapping[int, Measured]) -> list[Row]:
    """The guide's table with what was measured, by the number of parallel requests; 1 is what the others are against.

    The guide means requests that are processed at once, not those that also wait for a slot: measure n parallel
    requests with a concurrency of n. Other numbers than the guide's get a line without expectations.
    """
    base = measured.get(1)
    rows = []
    for parallel in sorted({*GUIDE, *measured} - {1}):
        expected, found = GUIDE.get(parallel), measured.get(parallel)
        latency = throughput = None
        if base and found:
            latency = change(base.latency_s, found.latency_s)
            throughput = change(base.requests_per_second, found.requests_per_second)
        rows.append(
            Row(
                parallel,
                _range(expected.latency) if expected else "",
                "" if latency is None else f"{latency:+.0f} %",
                _range(expected.throughput) if expected else "",
                "" if throughput is None else f"{throughput:+.0f} %",
                _verdict(expected, latency, throughput),
            )
        )
    return rows


def change(before: float, after: float) -> float | None:
    """By how many percent a number grew; None where it grew from nothing."""
    return (after / before - 1) * 100 if before > 0 else None


def _range(bounds: Range) -> str:
    return f"+{bounds[0]}-{bounds[1]} %"


def _verdict(expected: Expected | None, latency: float | None, throughput: float | None) -> str:
    if latency is None or throughput is None:
        return "not measured"
    if expected is None:
        return "the guide expects nothing"
    parts = []
    for what, value, (low, high) in (
        ("throughput", throughput, expected.throughput),
        ("latency", latency, expected.latency),
    ):
        if value < low:
            parts.append(f"{what} {low - value:.0f} points below")
        elif value > high:
            parts.append(f"{what} {value - high:.0f} points above")
    return ", ".join(parts) or "as expected"
