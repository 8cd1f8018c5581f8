# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From samples to numbers; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Sample


@dataclass(frozen=True)
class Distribution:
    """A time in seconds over the successful requests."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Level:
    """What was measured at one level of load.

    Times are of successful requests, None where no request has them; rates count successful requests only.
    ``truncated`` says that the time was up before all requests had been sent. ``error_examples`` has the words of the
    first error of each kind.
    """

    requests: int
    concurrency: int
    truncated: bool
    duration_s: float
    requests_per_second: float
    output_tokens: int
    output_tokens_per_second: float
    ttft_s: Distribution | None
    tpot_s: Distribution | None
    latency_s: Distribution | None
    errors: dict[str, int]
    error_examples: dict[str, str]
    error_rate: float


@dataclass(frozen=True)
class Single:
    """One request that has the server to itself."""

    latency_s: float
    ttft_s: float | None
    tpot_s: float | None
    output_tokens: int


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The nearest-rank percentile of ascending values: the smallest that at least ``percent`` of them do not exceed.

    It is always a value that was measured, so few values give a pessimistic p95 (the slowest) and never an invented
    one; it is also what ab prints.
    """
    rank = -(-percent * len(ordered) // 100)
    return ordered[max(rank, 1) - 1]


def distribution(values: Iterable[float | None]) -> Distribution | None:
    """Summarise the values that are there; None when there are none."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return None
    return Distribution(
        mean=seconds(sum(ordered) / len(ordered)),
        p50=seconds(percentile(ordered, 50)),
        p95=seconds(percentile(ordered, 95)),
        p99=seconds(percentile(ordered, 99)),
    )


def describe(sample: Sample) -> Single:
    """The numbers of one successful request."""
    return Single(
        latency_s=seconds(sample.latency),
        ttft_s=None if sample.ttft is None else seconds(sample.ttft),
        tpot_s=None if sample.tpot is None else seconds(sample.tpot),
        output_tokens=sample.output_tokens,
    )


def summarise(samples: Sequence[Sample], concurrency: int, truncated: bool = False) -> Level:
    """Summarise one level of load: at least one sample, from the first request's start to the last answer's end."""
    good = [sample for sample in samples if sample.failure is None]
    failures = [sample.failure for sample in samples if sample.failure is not None]
    duration = max(sample.end for sample in samples) - min(sample.start for sample in samples)
    tokens = sum(sample.output_tokens for sample in good)
    return Level(
        requests=len(samples),
        concurrency=concurrency,
        truncated=truncated,
        duration_s=seconds(duration),
        requests_per_second=rate(len(good), duration),
        output_tokens=tokens,
        output_tokens_per_second=rate(tokens, duration),
        ttft_s=distribution(sample.ttft for sample in good),
        tpot_s=distribution(sample.tpot for sample in good),
        latency_s=distribution(sample.latency for sample in good),
        errors=dict(Counter(failure.kind for failure in failures).most_common()),
        error_examples={failure.kind: failure.detail for failure in reversed(failures)},
        error_rate=round(len(failures) / len(samples), 6),
    )


def rate(count: int, duration: float) -> float:
    """``count`` per second."""
    return round(count / duration, 6) if duration > 0 else 0.0


def seconds(value: float) -> float:
    """A time without the digits that a clock shared with other processes cannot justify: to the microsecond."""
    return round(value, 6)
