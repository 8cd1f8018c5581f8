# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thresholds on a measurement, and the gain over an earlier one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import Distribution, Level
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError


class AssertionsFailed(OllamaError):
    """The measurement succeeded, but is not good enough."""


@dataclass(frozen=True)
class Assertion:
    """A threshold and what was measured; ``measured`` is None, and ``ok`` False, where there is nothing to compare."""

    metric: str
    expected: str
    measured: float | None
    ok: bool


def _p95(times: Distribution | None) -> float | None:
    return times.p95 if times else None


# Name of the threshold → how to read the measured value from the level and the gain. max_* are upper, min_* lower
# bounds.
_MEASURED: dict[str, Callable[[Level, float | None], float | None]] = {
    "max_p95_s": lambda level, gain: _p95(level.latency_s),
    "max_ttft_p95_s": lambda level, gain: _p95(level.ttft_s),
    "min_requests_per_second": lambda level, gain: level.requests_per_second,
    "max_error_rate": lambda level, gain: level.error_rate,
    "min_gain": lambda level, gain: gain,
}


def judge(thresholds: Mapping[str, float], level: Level, gain: float | None) -> list[Assertion]:
    """Compare every threshold with what was measured, in the order of the module's documentation."""
    return [
        _compare(metric, thresholds[metric], read(level, gain))
        for metric, read in _MEASURED.items()
        if metric in thresholds
    ]


def _compare(metric: str, threshold: float, measured: float | None) -> Assertion:
    upper = metric.startswith("max_")
    ok = measured is not None and (measured <= threshold if upper else measured >= threshold)
    return Assertion(metric, f"{'<=' if upper else '>='} {threshold:g}", measured, ok)


def require(assertions: Sequence[Assertion], **details: Any) -> None:
    """Raise ``AssertionsFailed`` with the table of expected against measured when not every assertion holds."""
    failed = sum(not assertion.ok for assertion in assertions)
    if failed:
        raise AssertionsFailed(
            f"{failed} of {len(assertions)} assertions failed; the whole measurement is in the key benchmark.\n"
            + table(assertions),
            **details,
        )


def table(assertions: Sequence[Assertion]) -> str:
    """Expected against measured, one line each, for a person."""
    rows = [("assertion", "expected", "measured", "")]
    for item in assertions:
        measured = "nothing" if item.measured is None else f"{item.measured:.6g}"
        rows.append((item.metric, item.expected, measured, "ok" if item.ok else "FAILED"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]).rstrip() for row in rows
    )


def baseline_rate(result: Mapping[str, Any], concurrency: int, max_tokens: int) -> float:
    """The requests per second of an earlier result, which must have measured the same load; else ``InvalidInput``.

    The model may differ: comparing quantizations is one of the uses.
    """
    try:
        load = result["load"]
        earlier = (int(load["concurrency"]), int(result["max_tokens"]))
        rate = float(load["requests_per_second"])
    except (KeyError, TypeError, ValueError):
        raise InvalidInput(
            "The value of baseline is not a result of this module: max_tokens, load.concurrency or"
            f" load.requests_per_second is missing or not a number (it has: {', '.join(map(str, result))}).",
            "Pass the key benchmark of an earlier result: before.benchmark where before was registered.",
        ) from None
    if earlier != (concurrency, max_tokens):
        raise InvalidInput(
            f"The baseline was measured with concurrency {earlier[0]} and max_tokens {earlier[1]},"
            f" this run has {concurrency} and {max_tokens}: their requests/s cannot be compared.",
            "Use the same concurrency and max_tokens for both runs.",
        )
    if not rate > 0:
        raise InvalidInput(f"The baseline's requests_per_second is {rate:g}, not positive.", "Measure it again.")
    return rate
