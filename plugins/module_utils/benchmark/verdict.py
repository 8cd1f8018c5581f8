# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thresholds on a measurement: on what was measured, and on how it compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import load_name
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import Ratios
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.plan import Plan
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import Distribution, Level
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError


class AssertionsFailed(OllamaError):
    """The measurement succeeded, but is not good enough."""


@dataclass(frozen=True)
class Assertion:
    """A threshold at one level of load, and what was measured there.

    ``measured`` is None, and ``ok`` False, where there is nothing to compare, for example too few rounds for a bound.
    """

    metric: str
    level: str
    expected: str
    measured: float | None
    ok: bool


def _p95(times: Distribution | None) -> float | None:
    return times.p95 if times else None


# Name of the threshold → how to read the measured value. max_* are upper, min_* lower bounds.
ABSOLUTE: dict[str, Callable[[Level], float | None]] = {
    "max_p95_s": lambda level: _p95(level.latency_s),
    "max_ttft_p95_s": lambda level: _p95(level.ttft_s),
    "max_tpot_p95_s": lambda level: _p95(level.tpot_s),
    "min_requests_per_second": lambda level: level.requests_per_second,
    "min_output_tokens_per_second": lambda level: level.output_tokens_per_second,
    "min_goodput": lambda level: level.goodput,
    "max_error_rate": lambda level: level.error_rate,
}
# Name of the threshold → the ratio that it is about. It holds when the ratio's bound does, not only its estimate.
AGAINST_BASELINE = {"min_gain": "requests_per_second", "min_goodput_gain": "goodput"}
AGAINST_OTHER = {
    "min_rate_ratio": "requests_per_second",
    "max_latency_ratio": "latency_p50_s",
    "max_ttft_ratio": "ttft_p50_s",
}

THRESHOLDS = (*ABSOLUTE, *AGAINST_BASELINE, *AGAINST_OTHER)


def check(thresholds: Mapping[str, float], plan: Plan, has_baseline: bool) -> None:
    """Refuse, before anything is measured, thresholds that could never hold. Raises ``InvalidInput``."""
    if not 0 <= thresholds.get("max_error_rate", 0) <= 1:
        raise InvalidInput(f"max_error_rate is {thresholds['max_error_rate']:g}.", "Give a share from 0 to 1.")
    needs = (
        (AGAINST_BASELINE, has_baseline, "Give the result of an earlier run as baseline."),
        (AGAINST_OTHER, bool(plan.other), "Give the other address as compare_url."),
        (("min_goodput", "min_goodput_gain"), bool(plan.slo), "Give the objectives as slo."),
        (("max_ttft_p95_s", "max_tpot_p95_s", "max_ttft_ratio"), plan.target.stream, "Leave stream true."),
    )
    for names, there, remedy in needs:
        for name in names:
            if name in thresholds and not there:
                raise InvalidInput(f"{name} has nothing to compare with.", remedy)


def judge(
    thresholds: Mapping[str, float], levels: Sequence[Level], gains: Sequence[Ratios], compared: Sequence[Ratios]
) -> list[Assertion]:
    """Compare every threshold with every level, in the order of the module's documentation."""
    found = [
        _compare(metric, level, thresholds[metric], read(level))
        for metric, read in ABSOLUTE.items()
        for level in levels
        if metric in thresholds
    ]
    for metrics, all_ratios in ((AGAINST_BASELINE, gains), (AGAINST_OTHER, compared)):
        for metric, name in metrics.items():
            for ratios in all_ratios if metric in thresholds else ():
                ratio = ratios.ratios.get(name)
                bound = None
                if ratio:
                    bound = ratio.low if metric.startswith("min_") else ratio.high
                found.append(_compare(metric, ratios, thresholds[metric], bound))
    return found


def _compare(metric: str, level: Level | Ratios, threshold: float, measured: float | None) -> Assertion:
    upper = metric.startswith("max_")
    ok = measured is not None and (measured <= threshold if upper else measured >= threshold)
    return Assertion(
        metric, load_name(level.concurrency, level.rate), f"{'<=' if upper else '>='} {threshold:g}", measured, ok
    )


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
    rows = [("assertion", "level", "expected", "measured", "")]
    for item in assertions:
        measured = "nothing" if item.measured is None else f"{item.measured:.6g}"
        rows.append((item.metric, item.level, item.expected, measured, "ok" if item.ok else "FAILED"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]]).rstrip() for row in rows
    )
